// What a training step minimises. An objective turns a batch into a loss and into the sums behind
// its metrics; which rows make a step, and how gradients become weights, is not its business.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

#include "data/batch.h"
#include "data/step_source.h"
#include "nn/decoder.h"

namespace continuo {

// Of the whole step, over all its micro-batches.
struct StepCounts {
  int64_t trained = 0;  // targets
  double weight = 0;    // Σ of their weights: N
  int64_t rows = 0;     // documents
  int64_t groups = 0;
};

// What a metric's sum is divided by.
enum class PerStep { kTrained, kRow, kGroup, kNothing };

struct MetricSpec {
  std::string name;  // in metrics.jsonl, and below train/ on the board
  PerStep per = PerStep::kTrained;
};

struct LossTerms {
  // [] float32, differentiable: this batch's part of the step's loss, which is the sum of the
  // parts.
  at::Tensor loss;
  // [metrics] float64, without gradients: this batch's parts of the sums that `metrics` names. On
  // the decoder's device; the host reads them once a step.
  at::Tensor sums;
  // [M] of the batch's targets, to name the rows behind a loss that is not finite.
  at::Tensor per_target;
};

class Objective {
 public:
  virtual ~Objective() = default;

  // Without gradients, before the first loss of a step: what a reference model says, advantages,
  // their counts. The results become columns of the batches.
  virtual void prepare(TrainingStep& step, Decoder& decoder) {
    static_cast<void>(step);
    static_cast<void>(decoder);
  }
  // The batch has a trained target.
  virtual LossTerms loss(Decoder& decoder, const Batch& batch, const StepCounts& counts) = 0;
  virtual std::span<const MetricSpec> metrics() const = 0;
};

}  // namespace continuo
