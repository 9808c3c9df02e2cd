// Figures about the examples of a store, from one walk over it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "data/example_store.h"

namespace continuo {

struct LengthBin {
  int64_t low = 0, high = 0;  // tokens, both included
  int64_t count = 0;
};

struct StoreStatistics {
  int64_t examples = 0, tokens = 0;
  int64_t trained = 0;      // targets that count in the loss
  int64_t eos_trained = 0;  // examples whose last token is a trained end of sequence
  // Lengths in tokens; percentiles are nearest-rank.
  int64_t shortest = 0, median = 0, p95 = 0, longest = 0;
  std::vector<LengthBin> histogram;  // equal widths, at most `bins`
};

StoreStatistics store_statistics(const ExampleStore& store, std::optional<TokenId> eos,
                                 int64_t bins = 10);

}  // namespace continuo
