// Memory that comes and goes behind tensors. Those that share a storage go on sharing it.
#pragma once

#include <ATen/core/Tensor.h>

namespace continuo {

// Whatever still refers to the storage finds no memory there.
void drop_memory(const at::Tensor& tensor);
// As much as the tensor, which spans its storage, takes; with any values.
void take_memory(const at::Tensor& tensor);

}  // namespace continuo
