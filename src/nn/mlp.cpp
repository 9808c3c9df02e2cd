#include "nn/mlp.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>

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

}  // namespace

MlpImpl::MlpImpl(const MlpOptions& o) : activation_(o.activation) {
  if (o.gated) gate = register_module("gate", Linear(o.hidden, o.intermediate, o.bias));
  up = register_module("up", Linear(o.hidden, o.intermediate, o.bias));
  down = register_module("down", Linear(o.intermediate, o.hidden, o.bias));
}

at::Tensor MlpImpl::forward(const at::Tensor& x) {
  if (!gate) return down(activate(up(x), activation_));
  if (activation_ == Activation::silu) return swiglu_linear(gate(x), up(x), *down);
  return down(activate(gate(x), activation_) * up(x));
}

}  // namespace continuo
