// Supervised fine-tuning: Σ weight · loss(target) / Σ weight over the trained tokens of a step.
#pragma once

#include "train/head_loss.h"
#include "train/objective.h"

namespace continuo {

class SftObjective : public Objective {
 public:
  // `scale` of the options is set by each step.
  explicit SftObjective(LossOptions options = {}) : options_(options) {}

  LossTerms loss(Decoder& decoder, const Batch& batch, const StepCounts& counts) override;
  std::span<const MetricSpec> metrics() const override;  // nll, accuracy, entropy

 private:
  LossOptions options_;
};

}  // namespace continuo
