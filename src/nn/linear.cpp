#include "nn/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/backend.h"
#include "nn/kept_weight.h"
#include "nn/optional_tensor.h"
#include "nn/unset_parameter.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const at::Tensor& CastCache::get(const at::Tensor& parameter, at::ScalarType dtype) {
  if (parameter.scalar_type() == dtype) {
    copy_ = at::Tensor();
    source_ = {};
    return parameter;
  }
  const TensorState source = state_of(parameter);
  if (!copy_.defined() || source_ != source || copy_.scalar_type() != dtype) {
    const c10::NoGradGuard no_grad;
    // Written in place where it can be, so that the copy keeps its pages from step to step.
    if (copy_.defined() && copy_.scalar_type() == dtype && copy_.sizes() == parameter.sizes() &&
        copy_.device() == parameter.device()) {
      copy_.copy_(parameter.detach());
    } else {
      copy_ = parameter.detach().to(dtype);
    }
    source_ = source;
  }
  return copy_;
}

namespace {

// Products in the dtype of x, the weight's gradient in the parameter's.
struct LinearProduct : torch::autograd::Function<LinearProduct> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const ProductWeight& product) {
    // A frozen weight asks for no product with x later.
    ctx->save_for_backward({weight.requires_grad() ? x : at::Tensor()});
    keep_weight(ctx, product);
    ctx->saved_data["weight_dtype"] = static_cast<int64_t>(weight.scalar_type());
    ctx->saved_data["bias"] = bias.has_value();
    const at::AutoDispatchBelowADInplaceOrView below;
    at::Tensor y = product.product(x);
    if (bias) y.add_(*bias);
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const at::Tensor x = ctx->get_saved_variables()[0];
    const at::Tensor dy = gradients[0].contiguous();
    const auto dtype = static_cast<at::ScalarType>(ctx->saved_data["weight_dtype"].toInt());
    const ProductOps& products = backend_of(dy).products;
    at::Tensor dx, dweight, dbias;
    if (ctx->needs_input_grad(0)) dx = products.nn(dy, kept_weight(ctx).values(dy.scalar_type()));
    if (ctx->needs_input_grad(1)) dweight = products.tn(dy, x, dtype);
    if (ctx->saved_data["bias"].toBool()) dbias = dy.sum(0, false, dtype);
    return {dx, dweight, dbias, at::Tensor()};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const ProductWeight& product,
                  const at::Tensor& bias) {
  return LinearProduct::apply(x, weight, optional_tensor(bias), product);
}

LinearImpl::LinearImpl(int64_t in, int64_t out, bool with_bias) {
  weight = register_parameter("weight", unset_parameter({out, in}));
  if (with_bias) bias = register_parameter("bias", unset_parameter({out}));
}

at::Tensor LinearImpl::forward(const at::Tensor& x) {
  if (observer) observer(x);
  if (adapter) return adapter->forward(*this, x);
  return linear(x, weight, product_weight(x.scalar_type()), bias);
}

at::Tensor merged_weight(const LinearImpl& base, const LowRank& adapter) {
  const c10::NoGradGuard no_grad;
  const WeightMatrix matrix = base.matrix();
  const at::Tensor weight = matrix.rows(0, matrix.out()).to(base.weight.device(), at::kFloat);
  const at::Tensor sum = at::addmm(weight, adapter.b, adapter.a, 1, adapter.scale);
  return adapter.factor.defined() ? sum * adapter.factor.unsqueeze(1) : sum;
}

std::vector<const LinearImpl*> linear_layers(const torch::nn::Module& module) {
  std::vector<const LinearImpl*> layers;
  for (const auto& part : module.modules()) {
    if (const auto* layer = dynamic_cast<const LinearImpl*>(part.get())) layers.push_back(layer);
  }
  return layers;
}

}  // namespace continuo
