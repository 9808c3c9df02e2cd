#include "nn/linear.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/cpu/matmul.h"
#include "nn/invariant_rows.h"
#include "nn/unset_parameter.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const at::Tensor& CastCache::get(const at::Tensor& parameter, at::ScalarType dtype) {
  if (parameter.scalar_type() == dtype) {
    copy_ = at::Tensor();
    source_ = nullptr;
    return parameter;
  }
  const uint32_t version =
      parameter.is_inference() ? 0 : static_cast<uint32_t>(parameter._version());
  const void* source = parameter.const_data_ptr();
  if (!copy_.defined() || source_ != source || version_ != version ||
      copy_.scalar_type() != dtype) {
    const c10::NoGradGuard no_grad;
    // Written in place where it can be, so that the copy keeps its pages from step to step.
    if (copy_.defined() && copy_.scalar_type() == dtype && copy_.sizes() == parameter.sizes() &&
        copy_.device() == parameter.device()) {
      copy_.copy_(parameter.detach());
    } else {
      copy_ = parameter.detach().to(dtype);
    }
    source_ = source;
    version_ = version;
  }
  return copy_;
}

namespace {

template <class T>
at::Tensor linear_by_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const int64_t rows = x.size(0), in = x.size(1), out = weight.size(0);
  at::Tensor y = at::empty({rows, out}, x.options());
  std::vector<float> wide;
  const float* wide_x = nullptr;
  if constexpr (sizeof(T) == sizeof(float)) {
    wide_x = data<float>(x);
  } else {
    wide.resize(rows * in);
    kernels().typed<T>().widen(rows * in, data<T>(x), wide.data());
    wide_x = wide.data();
  }
  const at::Tensor float_bias = bias.defined() ? bias.to(at::kFloat).contiguous() : at::Tensor();
  const float* b = bias.defined() ? data<float>(float_bias) : nullptr;
  const T* w = data<T>(weight);
  T* result = data<T>(y);
  // Work below a few hundred thousand products costs less than waking the other threads.
  const int64_t grain = std::max<int64_t>(4, 1 + (1 << 16) / std::max<int64_t>(1, rows * in));
  at::parallel_for(0, out, grain, [&](int64_t begin, int64_t end) {
    kernels().typed<T>().linear_rows(rows, in, out, begin, end, wide_x, w, b, result);
  });
  return y;
}

// Products in the dtype of x, the weight's gradient in the parameter's.
struct LinearProduct : torch::autograd::Function<LinearProduct> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& cast, const std::optional<at::Tensor>& bias) {
    // A frozen weight asks for no product with x later.
    ctx->save_for_backward({weight.requires_grad() ? x : at::Tensor(), cast});
    ctx->saved_data["weight_dtype"] = static_cast<int64_t>(weight.scalar_type());
    ctx->saved_data["bias"] = bias.has_value();
    const at::AutoDispatchBelowADInplaceOrView below;
    at::Tensor y = matmul_nt(x, cast);
    if (bias) y.add_(*bias);
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &cast = saved[1];
    const at::Tensor dy = gradients[0].contiguous();
    const auto dtype = static_cast<at::ScalarType>(ctx->saved_data["weight_dtype"].toInt());
    at::Tensor dx, dweight, dbias;
    if (ctx->needs_input_grad(0)) dx = matmul_nn(dy, cast);
    if (ctx->needs_input_grad(1)) dweight = matmul_tn(dy, x, dtype);
    if (ctx->saved_data["bias"].toBool()) dbias = dy.sum(0, false, dtype);
    return {dx, dweight, at::Tensor(), dbias};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& cast,
                  const at::Tensor& bias) {
  if (!c10::GradMode::is_enabled() && x.size(0) <= kInvariantRows && kernel_ready(x) &&
      kernel_ready(cast)) {
    return with_storage_type(
        x.scalar_type(), [&](auto type) { return linear_by_rows<decltype(type)>(x, cast, bias); });
  }
  if (!x.is_cpu() && weight.scalar_type() == x.scalar_type()) {
    return at::linear(x, weight, bias.defined() ? bias.to(x.scalar_type()) : bias);
  }
  return LinearProduct::apply(x, weight, cast, bias.defined() ? std::optional(bias) : std::nullopt);
}

LinearImpl::LinearImpl(int64_t in, int64_t out, bool with_bias) {
  weight = register_parameter("weight", unset_parameter({out, in}));
  if (with_bias) bias = register_parameter("bias", unset_parameter({out}));
}

at::Tensor LinearImpl::forward(const at::Tensor& x) {
  if (adapter) return adapter->forward(*this, x);
  return linear(x, weight, cast_.get(weight, x.scalar_type()), bias);
}

std::vector<const LinearImpl*> linear_layers(const torch::nn::Module& module) {
  std::vector<const LinearImpl*> layers;
  for (const auto& part : module.modules()) {
    if (const auto* layer = dynamic_cast<const LinearImpl*>(part.get())) layers.push_back(layer);
  }
  return layers;
}

}  // namespace continuo
