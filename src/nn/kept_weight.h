// How an autograd node keeps a ProductWeight between its forward and its backward pass; for the
// files of nn that define such nodes.
#pragma once

#include <utility>

#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/product_weight.h"

namespace continuo {

struct KeptWeight : torch::CustomClassHolder {
  explicit KeptWeight(ProductWeight kept) : weight(std::move(kept)) {}
  ProductWeight weight;
};

inline void keep_weight(torch::autograd::AutogradContext* ctx, const ProductWeight& weight) {
  ctx->saved_data["product"] = c10::IValue::make_capsule(c10::make_intrusive<KeptWeight>(weight));
}

inline const ProductWeight& kept_weight(torch::autograd::AutogradContext* ctx) {
  return c10::static_intrusive_pointer_cast<KeptWeight>(ctx->saved_data["product"].toCapsule())
      ->weight;
}

}  // namespace continuo
