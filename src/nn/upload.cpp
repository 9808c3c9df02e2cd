#include "nn/upload.h"

#include <ATen/ops/tensor.h>

namespace continuo {

at::Tensor upload(const at::Tensor& host, at::Device device) {
  if (!device.is_cuda() || host.device() == device) return host.to(device);
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

at::Tensor index_tensor(const std::vector<int64_t>& values, at::Device device) {
  return upload(at::tensor(at::IntArrayRef(values), at::kLong), device);
}

at::Tensor offset_tensor(const std::vector<int64_t>& values, at::Device device) {
  return upload(at::tensor(at::IntArrayRef(values), at::kInt), device);
}

}  // namespace continuo
