// Weights that are not all there when a decoder's pass begins: they come from other ranks of a
// training run while it goes on, and may leave again.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace continuo {

class WeightGate {
 public:
  virtual ~WeightGate() = default;
  // A forward pass begins: what its predecessor's caller was still to read may go.
  virtual void begin() {}
  // Returns when the parameters have their values. Undefined ones are passed over.
  virtual void need(const std::vector<at::Tensor>& parameters) = 0;
  // The parameters of one of `Decoder::parts`: a pass has read them. Where a forward pass keeps
  // what a backward pass begins with, that one needs them again.
  virtual void leave(const std::vector<at::Tensor>& parameters) { static_cast<void>(parameters); }
  // Likewise: a backward pass has read them, and added to their gradients all that it has.
  virtual void complete(const std::vector<at::Tensor>& parameters) {
    static_cast<void>(parameters);
  }
  // Whether weights go when they are left: nothing made of them is to stay either.
  virtual bool releases() const { return false; }
};

}  // namespace continuo
