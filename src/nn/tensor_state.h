// What tells whether a tensor still has the values that something was made of.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace continuo {

struct TensorState {
  const void* data = nullptr;
  uint32_t version = 0;

  friend bool operator==(const TensorState&, const TensorState&) = default;
};

// Of an undefined tensor {}.
inline TensorState state_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  return {tensor.const_data_ptr(),
          tensor.is_inference() ? 0 : static_cast<uint32_t>(tensor._version())};
}

}  // namespace continuo
