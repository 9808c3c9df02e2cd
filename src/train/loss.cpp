#include "train/loss.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/cpu/matmul.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

constexpr int64_t kRowMultiple = 64;

struct Statistics {
  at::Tensor loss, nll, entropy, correct;  // [m] float32 each
};

Statistics statistics_of(int64_t rows, const at::TensorOptions& options) {
  return {at::empty({rows}, options), at::empty({rows}, options), at::empty({rows}, options),
          at::empty({rows}, options)};
}

// Statistics of rows of logits; with `gradient` the logits become d(Σ loss · scale)/d(logits).
Statistics cross_entropy_rows(at::Tensor& logits, const at::Tensor& targets,
                              const LossOptions& options, bool gradient, double scale) {
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  Statistics s = statistics_of(rows, logits.options().dtype(at::kFloat));
  with_storage_type(logits.scalar_type(), [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const CrossEntropyTerms terms = kernels().typed<T>().cross_entropy(
            vocabulary, data<T>(logits) + r * vocabulary, data<int64_t>(targets)[r],
            static_cast<float>(options.label_smoothing), static_cast<float>(options.z_loss),
            gradient, static_cast<float>(scale));
        data<float>(s.loss)[r] = terms.loss;
        data<float>(s.nll)[r] = terms.nll;
        data<float>(s.entropy)[r] = terms.entropy;
        data<float>(s.correct)[r] = terms.correct ? 1.0f : 0.0f;
      }
    });
  });
  return s;
}

// The same by ATen's operators, for devices that the kernels do not reach.
Statistics cross_entropy_generic(at::Tensor& logits, const at::Tensor& targets,
                                 const LossOptions& options, bool gradient, double scale) {
  const at::Tensor wide = logits.to(at::kFloat);
  const at::Tensor lse = wide.logsumexp(1);
  const at::Tensor logp = wide - lse.unsqueeze(1);
  const at::Tensor p = logp.exp();
  const at::Tensor index = targets.unsqueeze(1);
  Statistics s;
  s.nll = -logp.gather(1, index).squeeze(1);
  s.entropy = -(p * logp).sum(1);
  s.correct = wide.argmax(1).eq(targets).to(at::kFloat);
  s.loss = (1 - options.label_smoothing) * s.nll - options.label_smoothing * logp.mean(1) +
           options.z_loss * lse * lse;
  if (gradient) {
    at::Tensor d = p * (1 + 2 * options.z_loss * lse).unsqueeze(1) -
                   options.label_smoothing / static_cast<double>(logits.size(1));
    d.scatter_add_(1, index, at::full_like(s.nll, -(1 - options.label_smoothing)).unsqueeze(1));
    logits = (d * scale).to(logits.scalar_type());
  }
  return s;
}

struct Pass {
  Statistics statistics;
  at::Tensor dhidden, dhead;
};

Pass run(const at::Tensor& hidden, const at::Tensor& cast, const at::Tensor& targets, double scale,
         const LossOptions& options, bool hidden_gradient, at::ScalarType head_dtype,
         bool head_gradient) {
  const int64_t rows = hidden.size(0), vocabulary = cast.size(0);
  const int64_t row_bytes = vocabulary * static_cast<int64_t>(hidden.element_size());
  int64_t chunk =
      std::clamp<int64_t>(options.memory_budget / row_bytes, 16, std::max<int64_t>(16, rows));
  if (chunk < rows && chunk > kRowMultiple) chunk -= chunk % kRowMultiple;
  Pass pass;
  pass.statistics = statistics_of(rows, hidden.options().dtype(at::kFloat));
  if (hidden_gradient) pass.dhidden = at::empty(hidden.sizes(), hidden.options());
  if (head_gradient) pass.dhead = at::zeros(cast.sizes(), cast.options().dtype(head_dtype));
  const bool gradient = hidden_gradient || head_gradient;
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const int64_t n = std::min(chunk, rows - begin);
    const int64_t padding = padding_rows(n, cast, hidden.scalar_type());
    at::Tensor h = hidden.narrow(0, begin, n);
    at::Tensor t = targets.narrow(0, begin, n);
    if (padding > 0) {
      h = at::cat({h, at::zeros({padding, h.size(1)}, h.options())});
      t = at::cat({t, at::zeros({padding}, t.options())});
    }
    at::Tensor logits = matmul_nt(h, cast);
    at::Tensor slope;  // of the soft cap
    if (options.logit_softcap > 0) {
      logits = at::tanh(logits / options.logit_softcap);
      if (gradient) slope = 1 - logits * logits;
      logits.mul_(options.logit_softcap);
    }
    const Statistics s = kernel_ready(logits)
                             ? cross_entropy_rows(logits, t, options, gradient, scale)
                             : cross_entropy_generic(logits, t, options, gradient, scale);
    pass.statistics.loss.narrow(0, begin, n).copy_(s.loss.narrow(0, 0, n));
    pass.statistics.nll.narrow(0, begin, n).copy_(s.nll.narrow(0, 0, n));
    pass.statistics.entropy.narrow(0, begin, n).copy_(s.entropy.narrow(0, 0, n));
    pass.statistics.correct.narrow(0, begin, n).copy_(s.correct.narrow(0, 0, n));
    if (padding > 0) logits.narrow(0, n, padding).zero_();
    if (slope.defined()) logits.mul_(slope);
    if (hidden_gradient)
      pass.dhidden.narrow(0, begin, n).copy_(matmul_nn(logits, cast).narrow(0, 0, n));
    if (head_gradient) add_matmul_tn(pass.dhead, logits, h);
  }
  return pass;
}

struct FusedHeadLoss : torch::autograd::Function<FusedHeadLoss> {
  // → {sum, nll, entropy, correct}; only sum is differentiable.
  static variable_list forward(AutogradContext* ctx, const at::Tensor& hidden,
                               const at::Tensor& head, const at::Tensor& cast,
                               const at::Tensor& targets, double scale, const LossOptions& options,
                               bool hidden_gradient, bool head_gradient) {
    Pass pass = run(hidden, cast, targets, scale, options, hidden_gradient, head.scalar_type(),
                    head_gradient);
    ctx->save_for_backward({pass.dhidden, pass.dhead});
    variable_list out = {pass.statistics.loss.sum() * scale, pass.statistics.nll,
                         pass.statistics.entropy, pass.statistics.correct};
    ctx->mark_non_differentiable({out[1], out[2], out[3]});
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    variable_list result(8);
    for (size_t i = 0; i < 2; ++i) {
      if (saved[i].defined()) result[i] = saved[i].mul_(gradients[0]);
    }
    return result;
  }
};

}  // namespace

int64_t padding_rows(int64_t rows, const at::Tensor& weight, at::ScalarType dtype) {
  if (dtype != at::kBFloat16 || !weight.is_cpu() || own_matmul(dtype)) return 0;
  return (kRowMultiple - rows % kRowMultiple) % kRowMultiple;
}

LossResult lm_loss(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& head_cast,
                   const at::Tensor& targets, double scale, const LossOptions& options) {
  const bool grad = c10::GradMode::is_enabled();
  const variable_list out =
      FusedHeadLoss::apply(hidden.contiguous(), head, head_cast, targets, scale, options,
                           grad && hidden.requires_grad(), grad && head.requires_grad());
  return {out[0], out[1], out[2], out[3].sum().item<int64_t>()};
}

}  // namespace continuo
