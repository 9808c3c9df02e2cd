// Indices as a tensor of a device.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

namespace continuo {

inline at::Tensor index_tensor(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(at::IntArrayRef(values), at::kLong).to(device);
}

}  // namespace continuo
