// Arguments of autograd functions that may be missing: these take no undefined tensors.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

namespace continuo {

inline std::optional<at::Tensor> optional_tensor(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor.contiguous()) : std::nullopt;
}

}  // namespace continuo
