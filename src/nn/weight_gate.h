// Weights that may still be on their way to a decoder when a pass begins, as between the ranks of a
// training run.
#pragma once

#include <ATen/core/Tensor.h>

namespace continuo {

class WeightGate {
 public:
  virtual ~WeightGate() = default;
  // Returns when the parameter has its values.
  virtual void need(const at::Tensor& parameter) = 0;
};

}  // namespace continuo
