// The last matrix of a model, as losses that fuse it with the softmax see it.
#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

#include "nn/product_weight.h"

namespace continuo {

// Logits are cap(hidden · weightᵀ), cap(x) = softcap · tanh(x / softcap) where softcap > 0
// (arXiv 2408.00118).
struct Head {
  at::Tensor weight;      // [V, hidden], the parameter: gradients go there
  ProductWeight product;  // the same as products in the compute dtype read it
  double softcap = 0;
  // [M, hidden] → logits [M, V] as an executor gives them, of a head that none is trained through;
  // else empty.
  std::function<at::Tensor(const at::Tensor& rows)> served = {};
};

}  // namespace continuo
