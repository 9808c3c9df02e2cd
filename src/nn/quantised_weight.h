// A matrix [out, in] in 8 or 4 bits that products read on any device.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "nn/weight_format.h"
#include "nn/weight_matrix.h"

namespace continuo {

struct QuantisedWeight {
  WeightFormat format = WeightFormat::q8;
  int64_t out = 0, in = 0;
  // [panels, bytes of a panel] uint8 (nn/panel_layout.h). The weights are those of the CPU's
  // engine.
  at::Tensor panels = {};

  bool defined() const { return panels.defined(); }
};

// `format`: q8 or q4. The matrix is read a few rows at a time, from whatever device it is on.
QuantisedWeight quantise(const WeightMatrix& matrix, WeightFormat format, at::Device device);

}  // namespace continuo
