#include "nn/norm.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

constexpr int64_t kRowGrain = 16;
// Row blocks of the backward pass, each with a partial weight gradient: a fixed number, so that the
// sum does not depend on the thread count.
constexpr int64_t kBlocks = 16;

struct Forward {
  at::Tensor sum, y, rstd;
};

Forward run_forward(const at::Tensor& residual, const at::Tensor& delta, const at::Tensor& weight,
                    double epsilon, at::ScalarType dtype) {
  const int64_t rows = residual.size(0), hidden = residual.size(1);
  Forward f;
  f.sum = delta.defined() ? at::empty_like(residual) : residual;
  f.y = at::empty(residual.sizes(), residual.options().dtype(dtype));
  f.rstd = at::empty({rows}, residual.options());
  with_storage_type(dtype, [&](auto type) {
    using T = decltype(type);
    const float* r = data<float>(residual);
    const T* d = delta.defined() ? data<T>(delta) : nullptr;
    float* sum = data<float>(f.sum);
    T* y = data<T>(f.y);
    float* rstd = data<float>(f.rstd);
    const float* w = data<float>(weight);
    at::parallel_for(0, rows, kRowGrain, [&](int64_t begin, int64_t end) {
      kernels().typed<T>().add_rms_norm(
          end - begin, hidden, r + begin * hidden, d ? d + begin * hidden : nullptr, w,
          static_cast<float>(epsilon), sum + begin * hidden, y + begin * hidden, rstd + begin);
    });
  });
  return f;
}

struct AddRmsNorm : torch::autograd::Function<AddRmsNorm> {
  // → {sum (only with delta), y}
  static variable_list forward(AutogradContext* ctx, const at::Tensor& residual,
                               const std::optional<at::Tensor>& optional_delta,
                               const at::Tensor& weight, double epsilon, int64_t dtype) {
    const at::Tensor delta = optional_delta.value_or(at::Tensor());
    const Forward f =
        run_forward(residual, delta, weight, epsilon, static_cast<at::ScalarType>(dtype));
    ctx->save_for_backward({f.sum, weight, f.rstd});
    ctx->saved_data["delta"] = delta.defined();
    ctx->saved_data["dtype"] = dtype;
    ctx->set_materialize_grads(false);
    return delta.defined() ? variable_list{f.sum, f.y} : variable_list{f.y};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &rstd = saved[2];
    const bool with_delta = ctx->saved_data["delta"].toBool();
    const auto dtype = static_cast<at::ScalarType>(ctx->saved_data["dtype"].toInt());
    at::Tensor dsum = with_delta ? gradients[0] : at::Tensor();
    at::Tensor dy = gradients[with_delta ? 1 : 0];
    if (dsum.defined()) dsum = dsum.contiguous();
    if (!dy.defined()) {
      return {dsum, with_delta && dsum.defined() ? dsum.to(dtype) : at::Tensor(), at::Tensor(),
              at::Tensor(), at::Tensor()};
    }
    dy = dy.contiguous();

    const int64_t rows = x.size(0), hidden = x.size(1);
    const int64_t block = (rows + kBlocks - 1) / kBlocks;
    at::Tensor dx = at::empty_like(x);
    // In float32 the gradient of delta is that of the residual, value for value.
    const bool own_ddelta = with_delta && dtype != at::kFloat;
    at::Tensor ddelta = own_ddelta ? at::empty(x.sizes(), x.options().dtype(dtype)) : at::Tensor();
    at::Tensor partial = at::zeros({kBlocks, hidden}, x.options());
    with_storage_type(dtype, [&](auto type) {
      using T = decltype(type);
      at::parallel_for(0, kBlocks, 1, [&](int64_t first, int64_t last) {
        for (int64_t b = first; b < last; ++b) {
          const int64_t begin = std::min(b * block, rows), end = std::min(begin + block, rows);
          const int64_t offset = begin * hidden;
          kernels().typed<T>().add_rms_norm_backward(
              end - begin, hidden, data<T>(dy) + offset,
              dsum.defined() ? data<float>(dsum) + offset : nullptr, data<float>(x) + offset,
              data<float>(weight), data<float>(rstd) + begin, data<float>(dx) + offset,
              own_ddelta ? data<T>(ddelta) + offset : nullptr, data<float>(partial) + b * hidden);
        }
      });
    });
    if (with_delta && !own_ddelta) ddelta = dx;
    return {dx, ddelta, partial.sum(0), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

NormImpl::NormImpl(int64_t hidden, const NormOptions& o) : options(o) {
  weight = register_parameter("weight", o.plus_one ? at::zeros({hidden}) : at::ones({hidden}));
  if (o.centred) bias = register_parameter("bias", at::zeros({hidden}));
}

NormOutput NormImpl::forward(const at::Tensor& residual, const at::Tensor& delta,
                             at::ScalarType dtype) {
  const at::Tensor factor = options.plus_one ? weight + 1 : weight;
  if (options.centred) {
    const at::Tensor sum = delta.defined() ? residual + delta : residual;
    return {sum, at::layer_norm(sum, {sum.size(1)}, factor, bias, options.epsilon).to(dtype)};
  }
  if (!residual.is_cpu()) {
    const at::Tensor sum = delta.defined() ? residual + delta : residual;
    const at::Tensor scale = at::rsqrt(sum.pow(2).mean(-1, true) + options.epsilon);
    return {sum, (sum * scale * factor).to(dtype)};
  }
  const variable_list out = AddRmsNorm::apply(
      residual.contiguous(), delta.defined() ? std::optional(delta.contiguous()) : std::nullopt,
      factor, options.epsilon, static_cast<int64_t>(dtype));
  return out.size() == 2 ? NormOutput{out[0], out[1]} : NormOutput{residual, out[0]};
}

at::Tensor NormImpl::apply_to(const at::Tensor& x) {
  return forward(x.to(at::kFloat), at::Tensor(), x.scalar_type()).normalised;
}

}  // namespace continuo
