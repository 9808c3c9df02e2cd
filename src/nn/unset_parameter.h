// Parameters that have a shape and no memory yet. A model is built of them, so that loading does
// not allocate, and the system does not zero, what a file's tensors replace at once.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>

namespace continuo {

// float32. Every element is the same one: writing to it is refused by LibTorch.
inline at::Tensor unset_parameter(at::IntArrayRef sizes, at::Device device = at::kCPU) {
  return at::empty_strided(sizes, std::vector<int64_t>(sizes.size(), 0),
                           at::TensorOptions(at::kFloat).device(device));
}

inline bool is_unset(const at::Tensor& parameter) {
  return parameter.storage().nbytes() < parameter.nbytes();
}

// Gives an unset parameter memory of its own, keeping its identity in the module.
inline void allocate_unset(const at::Tensor& parameter) {
  if (is_unset(parameter))
    at::Tensor(parameter).set_data(at::empty(parameter.sizes(), parameter.options()));
}

}  // namespace continuo
