// y = x·Wᵀ + b in the dtype of x. The parameter stays as it is (float32 while training); when x is
// bfloat16 a bfloat16 copy of it serves the products and is refreshed whenever the parameter
// changes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "nn/model_weights.h"
#include "nn/product_weight.h"
#include "nn/tensor_state.h"

namespace continuo {

// A parameter and its copy in another dtype.
class CastCache {
 public:
  // `parameter` in `dtype`, no gradient. The copy is made anew when the parameter's version or
  // storage has changed.
  const at::Tensor& get(const at::Tensor& parameter, at::ScalarType dtype);

 private:
  at::Tensor copy_;
  TensorState source_;
};

// x: [M, in] float32 or bfloat16; weight: [out, in], the parameter; product: the same as products
// in x's dtype read it; bias: [out] or undefined. → [M, out] in x's dtype. Gradients reach x,
// weight and bias in their own dtypes.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const ProductWeight& product,
                  const at::Tensor& bias);

// A layer's input that is made from two tensors which are kept anyway, and made again in the
// backward pass.
struct RemadeInput {
  at::Tensor (*make)(const at::Tensor& first, const at::Tensor& second);  // → [N, in]
  // Gradients of `first` and `second` from that of the input.
  std::pair<at::Tensor, at::Tensor> (*backward)(const at::Tensor& gradient, const at::Tensor& first,
                                                const at::Tensor& second);
};

struct LinearImpl;

// What acts on top of a frozen layer: it takes over the layer's forward pass (nn/adapters/lora.h).
class LinearAdapter {
 public:
  virtual ~LinearAdapter() = default;

  // x: [N, in] → [N, out].
  virtual at::Tensor forward(LinearImpl& base, const at::Tensor& x) = 0;
  virtual at::Tensor forward(LinearImpl& base, const at::Tensor& first, const at::Tensor& second,
                             const RemadeInput& input) = 0;
  // What it does in a forward pass without dropout, as executors take it.
  virtual LowRank low_rank(const LinearImpl& base) = 0;
  // The trained tensors by their names in files; float32, changed in place only.
  virtual std::vector<std::pair<std::string, at::Tensor>> parameters() const = 0;
};

struct LinearImpl : torch::nn::Module {
  LinearImpl(int64_t in, int64_t out, bool with_bias);  // unset (nn/unset_parameter.h)
  at::Tensor forward(const at::Tensor& x);              // [M, in] → [M, out]
  ProductWeight product_weight(at::ScalarType dtype) {
    if (quantised.defined()) return ProductWeight(quantised);
    if (stored.defined()) return {stored, weight.device()};
    return passing.defined() ? ProductWeight(passing, passing.device())
                             : ProductWeight(cast_.get(weight, dtype));
  }

  // The weight wherever it lies.
  WeightMatrix matrix() const { return stored.defined() ? stored : WeightMatrix(weight); }

  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out] or undefined
  // The weight where it was left, in its file or in an executor's panels; `weight` is then unset
  // and frozen.
  WeightMatrix stored;
  // What products read while an executor of 8 or 4 bits runs the model.
  QuantisedWeight quantised;
  // What products read where the weight's memory is there only while a pass needs it
  // (nn/weight_gate.h): the weight itself, or what its values are in their dtype. No other copy
  // outlives a product.
  at::Tensor passing;
  // Usually none. No part of the module's parameters.
  std::shared_ptr<LinearAdapter> adapter;
  // Told of what the layer is about to multiply in a pass without gradients, [N, in]; usually
  // nobody. It may give the layer another weight.
  std::function<void(const at::Tensor& x)> observer;

 private:
  CastCache cast_;
};
TORCH_MODULE(Linear);

// [out, in] float32: the weight that does alone what `base` does with this on top.
at::Tensor merged_weight(const LinearImpl& base, const LowRank& adapter);

// Every linear layer within `module`, in the order of its parameters.
std::vector<const LinearImpl*> linear_layers(const torch::nn::Module& module);

}  // namespace continuo
