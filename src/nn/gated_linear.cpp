#include "nn/gated_linear.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/backend.h"
#include "nn/kept_weight.h"
#include "nn/optional_tensor.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

template <Activation kActivation>
constexpr RemadeInput kProduct = {
    [](const at::Tensor& gate, const at::Tensor& up) {
      return backend_of(gate).gate.forward(gate, up, kActivation);
    },
    [](const at::Tensor& gradient, const at::Tensor& gate, const at::Tensor& up) {
      return backend_of(gate).gate.backward(gradient, gate, up, kActivation);
    }};

const RemadeInput& product_of(Activation activation) {
  switch (activation) {
    case Activation::silu:
      return kProduct<Activation::silu>;
    case Activation::gelu:
      return kProduct<Activation::gelu>;
    case Activation::gelu_tanh:
      return kProduct<Activation::gelu_tanh>;
    case Activation::relu:
      break;
  }
  return kProduct<Activation::relu>;
}

// What the layer computes with, besides the tensors that get gradients.
struct GatedProduct {
  Activation activation;
  ProductWeight weight;
};

// needs_input_grad counts the tensors that are there: those that may be missing come last.
struct GatedLinear : torch::autograd::Function<GatedLinear> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate, const at::Tensor& weight,
                            const std::optional<at::Tensor>& up,
                            const std::optional<at::Tensor>& bias, const GatedProduct& product) {
    const auto& [activation, down] = product;
    const at::Tensor second = up.value_or(at::Tensor());
    ctx->save_for_backward({gate, second});
    keep_weight(ctx, down);
    ctx->saved_data["activation"] = static_cast<int64_t>(activation);
    ctx->saved_data["weight_dtype"] = static_cast<int64_t>(weight.scalar_type());
    ctx->saved_data["bias"] = bias.has_value();
    const at::AutoDispatchBelowADInplaceOrView below;
    at::Tensor y = down.product(backend_of(gate).gate.forward(gate, second, activation));
    if (bias) y.add_(*bias);
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &gate = saved[0], &up = saved[1];
    const Backend& backend = backend_of(gate);
    const at::Tensor dy = gradients[0].contiguous();
    const auto dtype = static_cast<at::ScalarType>(ctx->saved_data["weight_dtype"].toInt());
    const auto activation = static_cast<Activation>(ctx->saved_data["activation"].toInt());
    at::Tensor dgate, dweight, dup, dbias;
    if (ctx->needs_input_grad(1)) {
      dweight = backend.products.tn(dy, backend.gate.forward(gate, up, activation), dtype);
    }
    if (ctx->saved_data["bias"].toBool()) dbias = dy.sum(0, false, dtype);
    const at::Tensor down = kept_weight(ctx).values(dy.scalar_type());
    std::tie(dgate, dup) =
        backend.gate.backward(backend.products.nn(dy, down), gate, up, activation);
    return {dgate, dweight, dup, dbias, at::Tensor()};
  }
};

}  // namespace

at::Tensor gated_linear(const at::Tensor& gate, const at::Tensor& up, Activation activation,
                        LinearImpl& down) {
  const at::Tensor g = gate.contiguous(), u = up.defined() ? up.contiguous() : up;
  const RemadeInput& product = product_of(activation);
  if (down.adapter) return down.adapter->forward(down, g, u, product);
  if (!c10::GradMode::is_enabled()) return down.forward(product.make(g, u));
  return GatedLinear::apply(
      g, down.weight, optional_tensor(u), optional_tensor(down.bias),
      GatedProduct{.activation = activation, .weight = down.product_weight(gate.scalar_type())});
}

}  // namespace continuo
