#include "nn/mlp.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <c10/core/GradMode.h>

#include "nn/invariant_rows.h"
#include "nn/swiglu.h"

namespace continuo {

namespace {

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return at::silu(x);
    case Activation::gelu:
      return at::gelu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::relu:
      return at::relu(x);
  }
  return {};
}

// ATen's vector loops and their scalar remainders differ in the last bits: in decoding every row
// goes alone, so that its bits do not depend on the others.
at::Tensor activate_rows(const at::Tensor& x, Activation activation) {
  const bool decoding =
      !c10::GradMode::is_enabled() && x.is_cpu() && x.size(0) > 1 && x.size(0) <= kInvariantRows;
  if (!decoding) return activate(x, activation);
  at::Tensor y = at::empty_like(x);
  for (int64_t i = 0; i < x.size(0); ++i) y[i].copy_(activate(x[i], activation));
  return y;
}

}  // namespace

MlpImpl::MlpImpl(const MlpOptions& o) : activation_(o.activation) {
  if (o.gated) gate = register_module("gate", Linear(o.hidden, o.intermediate, o.bias));
  up = register_module("up", Linear(o.hidden, o.intermediate, o.bias));
  down = register_module("down", Linear(o.intermediate, o.hidden, o.bias));
}

at::Tensor MlpImpl::forward(const at::Tensor& x) {
  if (!gate) return down(activate_rows(up(x), activation_));
  if (activation_ == Activation::silu) return swiglu_linear(gate(x), up(x), *down);
  return down(activate_rows(gate(x), activation_) * up(x));
}

}  // namespace continuo
