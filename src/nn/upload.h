// Tensors of the host to a model's device.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace continuo {

// `host` on `device`: itself on the CPU. Elsewhere the copy leaves from page-locked memory, and
// nobody waits for it: what uses it on the device comes after it there, and the memory is kept as
// long.
at::Tensor upload(const at::Tensor& host, at::Device device);

// Indices as a tensor [n] int64 of a device.
at::Tensor index_tensor(const std::vector<int64_t>& values, at::Device device);

// Offsets as a tensor [n] int32 of a device, as kernels of attention read them.
at::Tensor offset_tensor(const std::vector<int64_t>& values, at::Device device);

}  // namespace continuo
