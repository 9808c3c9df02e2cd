#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <ATen/ops/threshold_backward.h>

#include "nn/aten/ops.h"

namespace continuo::aten {

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

at::Tensor activate_backward(const at::Tensor& gradient, const at::Tensor& x,
                             Activation activation) {
  switch (activation) {
    case Activation::silu:
      return at::silu_backward(gradient, x);
    case Activation::gelu:
      return at::gelu_backward(gradient, x);
    case Activation::gelu_tanh:
      return at::gelu_backward(gradient, x, "tanh");
    case Activation::relu:
      return at::threshold_backward(gradient, x, 0);
  }
  return {};
}

}  // namespace

at::Tensor gate(const at::Tensor& gate, const at::Tensor& up, Activation activation) {
  const at::Tensor y = activate(gate, activation);
  return up.defined() ? y * up : y;
}

std::pair<at::Tensor, at::Tensor> gate_backward(const at::Tensor& gradient, const at::Tensor& gate,
                                                const at::Tensor& up, Activation activation) {
  if (!up.defined()) return {activate_backward(gradient, gate, activation), at::Tensor()};
  return {activate_backward(gradient * up, gate, activation),
          gradient * activate(gate, activation)};
}

}  // namespace continuo::aten
