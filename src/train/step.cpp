#include "train/step.h"

#include <cmath>

#include "core/error.h"
#include "train/batch_loss.h"
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

}  // namespace

StepSums accumulate_gradients(const TrainingStep& step, int64_t number, const StepParts& parts) {
  const double scale = 1.0 / static_cast<double>(step.trained_count);
  StepSums sums;
  for (const Batch& batch : step.micro_batches) {
    if (batch.trained_count == 0) continue;  // contributes exactly zero: nothing to compute
    const DropoutScope dropout(parts.dropout, number,
                               parts.dropout ? token_names(batch) : std::vector<uint64_t>());
    const LossResult loss = batch_loss(parts.decoder, batch, scale, parts.loss);
    const double value = loss.sum.item<double>();
    if (!std::isfinite(value)) {
      throw Error(fmt::format("step {}: the loss is not finite in {}", number + 1,
                              non_finite_rows(batch, loss.nll, parts.where)),
                  "Lower train.lr, or look at these rows with `continuo inspect`. The last "
                  "checkpoint is untouched.");
    }
    loss.sum.backward();
    sums.loss += value;
    sums.nll += loss.nll.sum(at::kDouble).item<double>();
    sums.entropy += loss.entropy.sum(at::kDouble).item<double>();
    sums.correct += loss.correct;
  }
  return sums;
}

}  // namespace continuo
