// Weights that are not all there when a decoder's pass begins: they come from other ranks of a
// training run while it goes on, and may leave again.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace continuo {

class WeightGate {
 public:
  virtual ~WeightGate() = default;
  // Returns when the parameters have their values. Undefined ones are passed over.
  virtual void need(const std::vector<at::Tensor>& parameters) = 0;
  // The parameters of one of `Decoder::parts`: a forward pass has read them. Where it keeps what a
  // backward pass begins with, that one needs them again.
  virtual void leave(const std::vector<at::Tensor>& parameters) { static_cast<void>(parameters); }
  // Likewise: a backward pass has read them, and added to their gradients all that it has.
  virtual void complete(const std::vector<at::Tensor>& parameters) {
    static_cast<void>(parameters);
  }
};

}  // namespace continuo
