// The last matrix of a model, as losses that fuse it with the softmax see it.
#pragma once

#include <ATen/core/Tensor.h>

#include "nn/product_weight.h"

namespace continuo {

// Logits are cap(hidden · weightᵀ), cap(x) = softcap · tanh(x / softcap) where softcap > 0
// (arXiv 2408.00118).
struct Head {
  at::Tensor weight;      // [V, hidden], the parameter: gradients go there
  ProductWeight product;  // the same as products in the compute dtype read it
  double softcap = 0;
};

}  // namespace continuo
