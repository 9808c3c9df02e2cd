#include "train/step.h"

#include <cmath>

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "train/evaluator.h"

namespace continuo {

namespace {

// A token's name for the noise of dropout: its row of the data set and its place there. Neither
// packing nor micro-batches change it.
std::vector<uint64_t> token_names(const Batch& batch) {
  std::vector<uint64_t> names;
  for (size_t d = 0; d < batch.rows.size(); ++d) {
    for (int64_t i = 0; i < batch.boundaries[d + 1] - batch.boundaries[d]; ++i) {
      names.push_back(static_cast<uint64_t>(batch.rows[d]) << 32 | static_cast<uint64_t>(i));
    }
  }
  return names;
}

StepCounts counts_of(const TrainingStep& step) {
  return {step.trained_count, step.weight, step.rows, step.groups};
}

double divisor(PerStep per, const StepCounts& counts) {
  switch (per) {
    case PerStep::kTrained:
      return static_cast<double>(counts.trained);
    case PerStep::kRow:
      return static_cast<double>(counts.rows);
    case PerStep::kGroup:
      return static_cast<double>(counts.groups);
    case PerStep::kNothing:
      break;
  }
  return 1;
}

[[noreturn]] void fail_not_finite(const TrainingStep& step, std::span<const at::Tensor> values,
                                  const StepContext& context) {
  std::string rows;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i].defined()) continue;
    const std::string names = non_finite_rows(step.micro_batches[i], values[i], context.where);
    if (!names.empty()) rows += (rows.empty() ? "" : ", ") + names;
  }
  throw Error(fmt::format("step {}: the loss is not finite{}{}", context.number + 1,
                          rows.empty() ? "" : " in ", rows),
              "Lower train.lr, or look at these rows with `continuo inspect`. The last "
              "checkpoint is untouched.");
}

}  // namespace

at::Tensor gradient_norm(std::span<const at::Tensor> parameters) {
  const c10::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  if (gradients.empty()) return {};
  return at::stack(at::_foreach_norm(gradients, 2)).norm().to(at::kDouble);
}

StepResult accumulate(TrainingStep& step, Objective& objective, const StepContext& context) {
  {
    const c10::NoGradGuard no_grad;
    objective.prepare(step, context.decoder);
  }
  const StepCounts counts = counts_of(step);
  at::Tensor sums;  // the loss, then the metrics' sums
  std::vector<at::Tensor> per_target;
  for (const Batch& batch : step.micro_batches) {
    per_target.emplace_back();
    if (batch.trained_count == 0) continue;  // contributes exactly zero: nothing to compute
    const DropoutScope dropout(context.dropout, context.number,
                               context.dropout ? token_names(batch) : std::vector<uint64_t>());
    const LossTerms terms = objective.loss(context.decoder, batch, counts);
    terms.loss.backward();
    const at::Tensor part = at::cat({terms.loss.detach().to(at::kDouble).reshape({1}), terms.sums});
    sums = sums.defined() ? sums + part : part;
    per_target.back() = terms.per_target;
  }
  const at::Tensor norm = gradient_norm(context.parameters);
  const at::Tensor first = norm.defined() ? norm.reshape({1}) : at::zeros({1}, sums.options());
  const at::Tensor host = at::cat({first, sums}).to(at::kCPU);
  const double* value = host.const_data_ptr<double>();
  StepResult result{.loss = value[1], .gradient_norm = value[0]};
  if (!std::isfinite(result.loss)) fail_not_finite(step, per_target, context);
  ++value;
  for (const MetricSpec& metric : objective.metrics()) {
    result.metrics.push_back(*++value / divisor(metric.per, counts));
  }
  return result;
}

}  // namespace continuo
