// How far a model as it is served is from the same as it was trained: what rounding activations, or
// weights, changes about its predictions.
#pragma once

#include <cstdint>

#include "data/example_store.h"
#include "nn/decoder.h"

namespace continuo {

struct ServedGap {
  double mean = 0, max = 0;  // |Δ log p| of trained tokens, nats
  int64_t tokens = 0;
};

// Over the first batches of `store` in the order of evaluation, until they have `rows` rows. Stops
// early when `core/interrupt.h` says so.
ServedGap served_gap(Decoder& trained, Decoder& served, const ExampleStore& store,
                     int64_t micro_tokens, int64_t rows);

}  // namespace continuo
