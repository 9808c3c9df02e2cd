#include "nn/norm.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/backend.h"
#include "nn/optional_tensor.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// What a norm computes with, besides tensors.
struct NormSettings {
  double epsilon;
  at::ScalarType dtype;  // of delta and the result
};

// → {sum (only with delta), y}
struct AddNorm : torch::autograd::Function<AddNorm> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& residual,
                               const std::optional<at::Tensor>& delta, const at::Tensor& weight,
                               const std::optional<at::Tensor>& bias,
                               const NormSettings& settings) {
    const NormInput input = {.residual = residual,
                             .delta = delta.value_or(at::Tensor()),
                             .weight = weight,
                             .bias = bias.value_or(at::Tensor()),
                             .epsilon = settings.epsilon,
                             .dtype = settings.dtype};
    const NormValues values = backend_of(residual).norm.forward(input);
    ctx->save_for_backward({values.sum, values.mean, values.rstd, weight, input.bias});
    ctx->saved_data["delta"] = delta.has_value();
    ctx->saved_data["epsilon"] = settings.epsilon;
    ctx->saved_data["dtype"] = static_cast<int64_t>(settings.dtype);
    ctx->set_materialize_grads(false);
    return delta ? variable_list{values.sum, values.y} : variable_list{values.y};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const bool with_delta = ctx->saved_data["delta"].toBool();
    const auto dtype = static_cast<at::ScalarType>(ctx->saved_data["dtype"].toInt());
    at::Tensor dsum = with_delta ? gradients[0] : at::Tensor();
    const at::Tensor dy = gradients[with_delta ? 1 : 0];
    if (dsum.defined()) dsum = dsum.contiguous();
    variable_list result(5);
    if (!dy.defined()) {
      result[0] = dsum;
      if (dsum.defined()) result[1] = dsum.to(dtype);
      return result;
    }
    const NormInput input = {.residual = {},
                             .delta = {},
                             .weight = saved[3],
                             .bias = saved[4],
                             .epsilon = ctx->saved_data["epsilon"].toDouble(),
                             .dtype = dtype};
    const NormValues values = {.sum = saved[0], .y = {}, .mean = saved[1], .rstd = saved[2]};
    const NormGradients g =
        backend_of(saved[0]).norm.backward(input, values, dsum, dy.contiguous());
    result[0] = g.sum;
    if (with_delta) result[1] = g.delta;
    result[2] = g.weight;
    result[3] = g.bias;
    return result;
  }
};

}  // namespace

NormImpl::NormImpl(int64_t hidden, const NormSpec& o) : spec(o) {
  weight = register_parameter("weight", o.plus_one ? at::zeros({hidden}) : at::ones({hidden}));
  if (o.centred) bias = register_parameter("bias", at::zeros({hidden}));
}

NormOutput NormImpl::forward(const at::Tensor& residual, const at::Tensor& delta,
                             at::ScalarType dtype) {
  const at::Tensor factor = spec.plus_one ? weight + 1 : weight;
  const variable_list out =
      AddNorm::apply(residual.contiguous(), optional_tensor(delta), factor, optional_tensor(bias),
                     NormSettings{.epsilon = spec.epsilon, .dtype = dtype});
  return out.size() == 2 ? NormOutput{out[0], out[1]} : NormOutput{residual, out[0]};
}

at::Tensor NormImpl::apply_to(const at::Tensor& x) {
  return forward(x.to(at::kFloat), at::Tensor(), x.scalar_type()).normalised;
}

}  // namespace continuo
