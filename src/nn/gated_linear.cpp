#include "nn/gated_linear.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/backend.h"
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

struct GatedLinear : torch::autograd::Function<GatedLinear> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate,
                            const std::optional<at::Tensor>& up, const at::Tensor& weight,
                            const at::Tensor& cast, const std::optional<at::Tensor>& bias,
                            int64_t activation) {
    const at::Tensor second = up.value_or(at::Tensor());
    ctx->save_for_backward({gate, second, cast});
    ctx->saved_data["activation"] = activation;
    ctx->saved_data["weight_dtype"] = static_cast<int64_t>(weight.scalar_type());
    ctx->saved_data["bias"] = bias.has_value();
    const at::AutoDispatchBelowADInplaceOrView below;
    const Backend& backend = backend_of(gate);
    at::Tensor y = backend.products.nt(
        backend.gate.forward(gate, second, static_cast<Activation>(activation)), cast);
    if (bias) y.add_(*bias);
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &gate = saved[0], &up = saved[1], &cast = saved[2];
    const Backend& backend = backend_of(gate);
    const at::Tensor dy = gradients[0].contiguous();
    const auto dtype = static_cast<at::ScalarType>(ctx->saved_data["weight_dtype"].toInt());
    const auto activation = static_cast<Activation>(ctx->saved_data["activation"].toInt());
    variable_list result(6);
    if (ctx->needs_input_grad(2)) {
      result[2] = backend.products.tn(dy, backend.gate.forward(gate, up, activation), dtype);
    }
    if (ctx->saved_data["bias"].toBool()) result[4] = dy.sum(0, false, dtype);
    std::tie(result[0], result[1]) =
        backend.gate.backward(backend.products.nn(dy, cast), gate, up, activation);
    return result;
  }
};

}  // namespace

at::Tensor gated_linear(const at::Tensor& gate, const at::Tensor& up, Activation activation,
                        LinearImpl& down) {
  const at::Tensor g = gate.contiguous(), u = up.defined() ? up.contiguous() : up;
  const RemadeInput& product = product_of(activation);
  if (down.adapter) return down.adapter->forward(down, g, u, product);
  if (!c10::GradMode::is_enabled()) return down.forward(product.make(g, u));
  return GatedLinear::apply(g, optional_tensor(u), down.weight,
                            down.cast_weight(gate.scalar_type()), optional_tensor(down.bias),
                            static_cast<int64_t>(activation));
}

}  // namespace continuo
