// Steps of rows that nobody wrote, where only their lengths matter.
#pragma once

#include <cstdint>
#include <span>

#include "data/step_source.h"

namespace continuo {

struct RowLength {
  int64_t prompt, completion;  // tokens
};

// Documents of the given lengths with random ids, in their order; completions are trained.
TrainingStep random_step(std::span<const RowLength> rows, int64_t vocabulary, int64_t micro_tokens);

}  // namespace continuo
