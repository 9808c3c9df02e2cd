// Pointers into contiguous CPU tensors for the kernels, by storage type: float, or uint16_t for
// bfloat16.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

namespace continuo {

template <class T>
T* data(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

// Calls f(T{}) with the storage type of `dtype`.
template <class F>
auto with_storage_type(at::ScalarType dtype, F f) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16,
              "the kernels compute in float32 or bfloat16, not ", dtype);
  return dtype == at::kFloat ? f(float{}) : f(uint16_t{});
}

}  // namespace continuo
