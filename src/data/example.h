// A tokenized document with its mask.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace continuo {

// Points into an ExampleStore. trained[i] = 1: token i counts in the loss (as a target).
struct ExampleView {
  std::span<const TokenId> tokens;
  std::span<const uint8_t> trained;     // same length
  std::span<const float> weights = {};  // same length, or empty: all 1
};

}  // namespace continuo
