// A ragged batch as the model sees it: one flat stream of tokens plus document boundaries. Only
// attention looks at the boundaries.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace continuo {

struct RaggedInput {
  at::Tensor tokens;                // [N] int64, on the model's device
  at::Tensor positions;             // [N] int64, same device
  std::vector<int64_t> boundaries;  // [D+1] document offsets, host
  // [D+1] int32: the same on the device, which a pass puts there once for all of its layers.
  at::Tensor offsets = {};

  int64_t documents() const { return static_cast<int64_t>(boundaries.size()) - 1; }
  int64_t length(int64_t document) const { return boundaries[document + 1] - boundaries[document]; }
};

}  // namespace continuo
