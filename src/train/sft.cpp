#include "train/sft.h"

#include <ATen/ops/stack.h>

#include "train/supervised.h"

namespace continuo {

LossTerms SftObjective::loss(Decoder& decoder, const Batch& batch, const StepCounts& counts) {
  const Supervised rows = supervised_rows(decoder, batch);
  LossOptions options = options_;
  options.scale = 1.0 / counts.weight;
  const NllResult result =
      weighted_nll(rows.hidden, rows.head, rows.targets, rows.weights, options);
  return {.loss = result.sum,
          .sums = at::stack({result.nll.sum(at::kDouble), result.correct.sum(at::kDouble),
                             result.entropy.sum(at::kDouble)}),
          .per_target = result.nll};
}

std::span<const MetricSpec> SftObjective::metrics() const {
  static const MetricSpec kMetrics[] = {{"nll"}, {"accuracy"}, {"entropy"}};
  return kMetrics;
}

}  // namespace continuo
