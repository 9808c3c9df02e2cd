// AdamW with decoupled weight decay (arXiv 1711.05101) over float32 master weights, by LibTorch's
// fused kernel. Updates shares of the parameters (train/gradients.h) and keeps moments for those.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/config/config.h"
#include "train/gradients.h"

namespace continuo {

struct OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;  // largest global gradient norm, 0 = no clipping
};
void fields(FieldVisitor& v, OptimizerConfig& c);

class AdamW {
 public:
  // `gradients` outlives it.
  AdamW(Gradients& gradients, const OptimizerConfig& config);

  Gradients& gradients() const { return gradients_; }

  // Clips the gradients, whose global norm is `norm`, to config.clip, updates the weights with
  // learning rate `lr` and lets the gradients go. When the norm is not finite nothing is updated.
  void step(double lr, double norm);

  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  // First and second moment of a share, shaped as it.
  const at::Tensor& exp_avg(size_t share) const { return exp_avg_[share]; }
  const at::Tensor& exp_avg_sq(size_t share) const { return exp_avg_sq_[share]; }

 private:
  Gradients& gradients_;
  OptimizerConfig config_;
  std::vector<at::Tensor> exp_avg_, exp_avg_sq_;  // of shares
  int64_t steps_ = 0;
};

}  // namespace continuo
