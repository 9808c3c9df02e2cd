#include "train/head_loss.h"

#include <algorithm>
#include <functional>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "nn/backend.h"
#include "nn/kept_weight.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

constexpr int64_t kRowMultiple = 64;

// What a row's gradient is multiplied with: `scale`, and `rows` where it is defined.
struct RowScale {
  double scale = 1;
  at::Tensor rows;  // [M] float32

  RowScale narrow(int64_t begin, int64_t n) const {
    return {scale, rows.defined() ? rows.narrow(0, begin, n) : rows};
  }
  at::Tensor times(const at::Tensor& values) const {
    return rows.defined() ? values * rows : values;
  }
};

// What is computed with each chunk of logits.
struct HeadPass {
  at::Tensor hidden;
  ProductWeight head;
  at::Tensor targets;
  double softcap = 0;
  std::function<at::Tensor(const at::Tensor&)> served = {};  // instead of both (nn/head.h)
  LossOptions options = {};
  // Of which gradients are wanted, in the type of the second.
  bool hidden_gradient = false, head_gradient = false;
  at::ScalarType head_dtype = at::kFloat;
  RowScale nll = {};        // d objective / d loss of a row
  at::Tensor entropy = {};  // [M] float32: d objective / d entropy of a row, or undefined

  bool gradient() const { return hidden_gradient || head_gradient; }
};

struct HeadPassResult {
  RowStatistics statistics;
  at::Tensor dhidden, dhead;
};

RowStatistics empty_statistics(int64_t rows, const at::TensorOptions& options) {
  return {at::empty({rows}, options), at::empty({rows}, options), at::empty({rows}, options),
          at::empty({rows}, options)};
}

// d(Σ slope · entropy)/d(logits) of rows of logits: −slope · p · (log p + entropy).
at::Tensor entropy_gradient(const at::Tensor& logits, const at::Tensor& slope) {
  const at::Tensor logp = at::log_softmax(logits.to(at::kFloat), 1);
  const at::Tensor weighted = logp.exp() * logp;
  const at::Tensor entropy = -weighted.sum(1, /*keepdim=*/true);
  return (weighted + logp.exp() * entropy).mul_(-slope.unsqueeze(1));
}

int64_t chunk_rows(const HeadPass& pass) {
  const int64_t rows = pass.hidden.size(0);
  const int64_t row_bytes = pass.head.out() * static_cast<int64_t>(pass.hidden.element_size());
  const int64_t most = std::max<int64_t>(16, rows);
  const int64_t chunk = std::clamp<int64_t>(pass.options.head.memory_budget / row_bytes, 16, most);
  return chunk < rows && chunk > kRowMultiple ? chunk - chunk % kRowMultiple : chunk;
}

at::Tensor padded(const at::Tensor& rows, int64_t padding) {
  if (padding == 0) return rows;
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = padding;
  return at::cat({rows, at::zeros(shape, rows.options())});
}

// Calls f(first row, rows) for the head in the type of the hidden states, some rows at a time
// unless it is in memory.
template <class F>
void for_head_rows(const HeadPass& pass, const F& f) {
  const int64_t out = pass.head.out();
  const int64_t row_bytes = pass.hidden.size(1) * static_cast<int64_t>(pass.hidden.element_size());
  const int64_t step = pass.head.in_memory()
                           ? out
                           : std::max<int64_t>(1, pass.options.head.memory_budget / 8 / row_bytes);
  for (int64_t begin = 0; begin < out; begin += step) {
    f(begin, pass.head.rows(begin, std::min(begin + step, out), pass.hidden.scalar_type()));
  }
}

// h [M, hidden] → [M, V]
at::Tensor head_logits(const HeadPass& pass, const at::Tensor& h) {
  const ProductOps& products = backend_of(h).products;
  at::Tensor logits;
  for_head_rows(pass, [&](int64_t begin, const at::Tensor& rows) {
    const at::Tensor part = products.nt(h, rows);
    if (rows.size(0) == pass.head.out()) {
      logits = part;
      return;
    }
    if (!logits.defined()) logits = at::empty({h.size(0), pass.head.out()}, h.options());
    logits.narrow(1, begin, rows.size(0)).copy_(part);
  });
  return logits;
}

// The gradient of h from that of its logits.
at::Tensor hidden_gradient(const HeadPass& pass, const at::Tensor& dlogits) {
  const ProductOps& products = backend_of(dlogits).products;
  at::Tensor sum;
  for_head_rows(pass, [&](int64_t begin, const at::Tensor& rows) {
    if (rows.size(0) == pass.head.out()) {
      sum = products.nn(dlogits, rows);
      return;
    }
    const at::Tensor part = products.nn(dlogits.narrow(1, begin, rows.size(0)).contiguous(), rows);
    sum = sum.defined() ? sum.add_(part) : part.to(at::kFloat);
  });
  return sum;
}

// Rows [begin, begin + n): their statistics, and their part of the gradients.
void run_chunk(const HeadPass& pass, int64_t begin, int64_t n, HeadPassResult& result) {
  const int64_t padding = padding_rows(n, pass.hidden.device(), pass.hidden.scalar_type());
  const at::Tensor h = padded(pass.hidden.narrow(0, begin, n), padding);
  const at::Tensor t = padded(pass.targets.narrow(0, begin, n), padding);
  at::Tensor logits = pass.served ? pass.served(h) : head_logits(pass, h);
  at::Tensor slope;  // d(logits)/d(product) where it is not 1
  if (pass.softcap > 0 && !pass.served) {
    logits = at::tanh(logits / pass.softcap);
    if (pass.gradient()) slope = 1 - logits * logits;
    logits.mul_(pass.softcap);
  }
  const double temperature = pass.options.head.temperature;
  if (temperature != 1) logits.div_(temperature);
  const bool entropy = pass.entropy.defined();
  const at::Tensor extra =
      entropy ? entropy_gradient(logits.narrow(0, 0, n), pass.entropy.narrow(0, begin, n))
              : at::Tensor();
  const RowScale scale = pass.nll.narrow(begin, n);
  const RowStatistics s =
      backend_of(logits).loss.cross_entropy(logits, t,
                                            {.label_smoothing = pass.options.label_smoothing,
                                             .z_loss = pass.options.z_loss,
                                             .gradient = pass.gradient(),
                                             .scale = scale.scale,
                                             .weights = scale.rows});
  const RowStatistics& all = result.statistics;
  all.loss.narrow(0, begin, n).copy_(s.loss.narrow(0, 0, n));
  all.nll.narrow(0, begin, n).copy_(s.nll.narrow(0, 0, n));
  all.entropy.narrow(0, begin, n).copy_(s.entropy.narrow(0, 0, n));
  all.correct.narrow(0, begin, n).copy_(s.correct.narrow(0, 0, n));
  if (!pass.gradient()) return;
  if (entropy) logits.narrow(0, 0, n).add_(extra);
  if (padding > 0) logits.narrow(0, n, padding).zero_();
  if (temperature != 1) logits.div_(temperature);
  if (slope.defined()) logits.mul_(slope);
  if (pass.hidden_gradient)
    result.dhidden.narrow(0, begin, n).copy_(hidden_gradient(pass, logits).narrow(0, 0, n));
  if (pass.head_gradient) backend_of(h).products.add_tn(result.dhead, logits, h);
}

HeadPassResult run(const HeadPass& pass) {
  const int64_t rows = pass.hidden.size(0), chunk = chunk_rows(pass);
  HeadPassResult result;
  result.statistics = empty_statistics(rows, pass.hidden.options().dtype(at::kFloat));
  if (pass.hidden_gradient) result.dhidden = at::empty(pass.hidden.sizes(), pass.hidden.options());
  if (pass.head_gradient)
    result.dhead = at::zeros({pass.head.out(), pass.hidden.size(1)},
                             pass.hidden.options().dtype(pass.head_dtype));
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    run_chunk(pass, begin, std::min(chunk, rows - begin), result);
  }
  return result;
}

// → {sum, nll, entropy, correct}; only sum is differentiable.
struct WeightedNll : torch::autograd::Function<WeightedNll> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor&, const at::Tensor&,
                               const HeadPass& pass) {
    const HeadPassResult result = run(pass);
    const RowStatistics& s = result.statistics;
    ctx->save_for_backward({result.dhidden, result.dhead});
    variable_list out = {pass.nll.times(s.loss).sum() * pass.nll.scale, s.nll, s.entropy,
                         s.correct};
    ctx->mark_non_differentiable({out[1], out[2], out[3]});
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    variable_list result(3);
    for (size_t i = 0; i < 2; ++i) {
      if (saved[i].defined()) result[i] = saved[i].mul_(gradients[0]);
    }
    return result;
  }
};

// → {logp, entropy}, both differentiable.
struct FusedLogprobs : torch::autograd::Function<FusedLogprobs> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& hidden, const at::Tensor&,
                               const HeadPass& pass) {
    HeadPass values = pass;
    values.hidden_gradient = values.head_gradient = false;
    const HeadPassResult result = run(values);
    ctx->save_for_backward({hidden.detach(), pass.targets});
    keep_weight(ctx, pass.head);
    ctx->saved_data["softcap"] = pass.softcap;
    ctx->saved_data["temperature"] = pass.options.head.temperature;
    ctx->saved_data["budget"] = pass.options.head.memory_budget;
    ctx->saved_data["hidden"] = pass.hidden_gradient;
    ctx->saved_data["head"] = pass.head_gradient;
    ctx->saved_data["dtype"] = static_cast<int64_t>(pass.head_dtype);
    return {-result.statistics.nll, result.statistics.entropy};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    HeadPass pass{saved[0], kept_weight(ctx), saved[1]};
    pass.softcap = ctx->saved_data["softcap"].toDouble();
    pass.options.head = {ctx->saved_data["temperature"].toDouble(),
                         ctx->saved_data["budget"].toInt()};
    pass.hidden_gradient = ctx->saved_data["hidden"].toBool();
    pass.head_gradient = ctx->saved_data["head"].toBool();
    pass.head_dtype = static_cast<at::ScalarType>(ctx->saved_data["dtype"].toInt());
    const auto rows = at::TensorOptions(saved[0].device()).dtype(at::kFloat);
    pass.nll.rows = gradients[0].defined() ? gradients[0].neg().contiguous()
                                           : at::zeros({saved[0].size(0)}, rows);
    pass.entropy = gradients[1];
    const HeadPassResult result = run(pass);
    return {result.dhidden, result.dhead, at::Tensor()};
  }
};

HeadPass head_pass(const at::Tensor& hidden, const Head& head, const at::Tensor& targets) {
  const bool grad = c10::GradMode::is_enabled();
  HeadPass pass{hidden.contiguous(), head.product, targets};
  pass.softcap = head.softcap;
  pass.served = head.served;
  pass.hidden_gradient = grad && hidden.requires_grad();
  pass.head_gradient = grad && head.weight.requires_grad();
  if (pass.served && pass.gradient()) fail("a head that is served has no gradients");
  pass.head_dtype = head.weight.scalar_type();
  return pass;
}

}  // namespace

int64_t padding_rows(int64_t rows, at::Device device, at::ScalarType dtype) {
  const int64_t multiple = backend_of(device).products.row_multiple(dtype);
  return (multiple - rows % multiple) % multiple;
}

NllResult weighted_nll(const at::Tensor& hidden, const Head& head, const at::Tensor& targets,
                       const at::Tensor& weights, const LossOptions& options) {
  HeadPass pass = head_pass(hidden, head, targets);
  pass.options = options;
  pass.nll = {options.scale, weights};
  const variable_list out = WeightedNll::apply(pass.hidden, head.weight, pass);
  return {out[0], out[1], out[2], out[3]};
}

TokenLogprobs token_logprobs(const at::Tensor& hidden, const Head& head, const at::Tensor& targets,
                             const HeadOptions& options) {
  HeadPass pass = head_pass(hidden, head, targets);
  pass.options.head = options;
  const variable_list out = FusedLogprobs::apply(pass.hidden, head.weight, pass);
  return {out[0], out[1]};
}

}  // namespace continuo
