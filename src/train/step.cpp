#include "train/step.h"

#include <algorithm>
#include <cmath>

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "train/evaluator.h"
#include "train/supervised.h"

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

// Of this rank's micro-batches.
std::string not_finite(const TrainingStep& step, std::span<const at::Tensor> values,
                       const StepContext& context) {
  std::string rows;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i].defined()) continue;
    const std::string names = non_finite_rows(step.micro_batches[i], values[i], context.where);
    if (!names.empty()) rows += (rows.empty() ? "" : ", ") + names;
  }
  return rows;
}

[[noreturn]] void fail_not_finite(const TrainingStep& step, std::span<const at::Tensor> values,
                                  const StepContext& context) {
  const std::string rows =
      context.gradients.ranks().gather_names(not_finite(step, values, context), "the rows' names");
  throw CommonError(fmt::format("step {}: the loss is not finite{}{}", context.number + 1,
                                rows.empty() ? "" : " in ", rows),
                    "Lower train.lr, or look at these rows with `continuo inspect`. The last "
                    "checkpoint is untouched.");
}

// The sums of all ranks, added in their order; then how many of them wish to stop.
std::vector<double> sum_over_ranks(const at::Tensor& mine, bool stop, Communicator& ranks) {
  const at::Tensor host = mine.to(at::kCPU);
  const double* begin = host.const_data_ptr<double>();
  std::vector<double> values(begin, begin + host.numel());
  values.push_back(stop ? 1 : 0);
  const std::vector<double> all = ranks.gather(values, "the losses of a step");
  std::vector<double> sums(values.size());
  for (size_t i = 0; i < all.size(); ++i) sums[i % sums.size()] += all[i];
  return sums;
}

// The passes of the rank that makes most.
int64_t passes_of_all(int64_t mine, Gradients& gradients) {
  if (!gradients.passes_together()) return mine;
  const auto count = static_cast<double>(mine);
  return static_cast<int64_t>(
      std::ranges::max(gradients.ranks().gather({&count, 1}, "the numbers of the others' passes")));
}

}  // namespace

StepResult accumulate(TrainingStep& step, Objective& objective, const StepContext& context) {
  {
    const c10::NoGradGuard no_grad;
    objective.prepare(step, context.decoder);
  }
  const StepCounts counts = counts_of(step);
  // Batches without a trained target contribute exactly zero: nothing to compute.
  const auto computed = [](const Batch& batch) { return batch.trained_count > 0; };
  const int64_t mine = std::ranges::count_if(step.micro_batches, computed);
  const int64_t passes = passes_of_all(mine, context.gradients);
  int64_t pass = 0;
  at::Tensor sums;  // the loss, then the metrics' sums
  std::vector<at::Tensor> per_target;
  for (const Batch& batch : step.micro_batches) {
    per_target.emplace_back();
    if (!computed(batch)) continue;
    const DropoutScope dropout(context.dropout, context.number,
                               context.dropout ? token_names(batch) : std::vector<uint64_t>());
    const LossTerms terms = objective.loss(context.decoder, batch, counts);
    if (++pass == passes) context.gradients.last_pass();
    terms.loss.backward();
    context.gradients.pass_over();
    const at::Tensor part = at::cat({terms.loss.detach().to(at::kDouble).reshape({1}), terms.sums});
    sums = sums.defined() ? sums + part : part;
    per_target.back() = terms.per_target;
  }
  for (; pass < passes; ++pass) {
    const DropoutScope dropout(context.dropout, context.number, {0});
    idle_pass(context.decoder);
    context.gradients.pass_over();
  }
  const at::Tensor squares = context.gradients.sum().reshape({1});
  if (!sums.defined()) sums = at::zeros({1 + std::ssize(objective.metrics())}, squares.options());
  const std::vector<double> all =
      sum_over_ranks(at::cat({squares, sums}), context.stop(), context.gradients.ranks());
  StepResult result{
      .loss = all[1], .gradient_norm = std::sqrt(all[0]), .stop = all.back() > 0, .metrics = {}};
  if (!std::isfinite(result.loss)) fail_not_finite(step, per_target, context);
  const double* value = &all[1];
  for (const MetricSpec& metric : objective.metrics()) {
    result.metrics.push_back(*++value / divisor(metric.per, counts));
  }
  return result;
}

}  // namespace continuo
