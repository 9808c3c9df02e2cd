// AdamW with decoupled weight decay (arXiv 1711.05101) over float32 master weights, by LibTorch's
// fused kernel. Decay applies to matrices (dim ≥ 2), not to norms and biases. State is kept by
// parameter name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/config/config.h"

namespace continuo {

struct OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;  // largest global gradient norm, 0 = no clipping
};
void fields(FieldVisitor& v, OptimizerConfig& c);

using NamedParameters = std::vector<std::pair<std::string, at::Tensor>>;

class AdamW {
 public:
  AdamW(NamedParameters parameters, const OptimizerConfig& config);

  // Those that are trained, in the order of the update.
  const std::vector<at::Tensor>& parameters() const { return trained_; }

  // Clips the gradients, whose global norm is `norm`, to config.clip, updates the weights with
  // learning rate `lr` and drops the gradients. When the norm is not finite nothing is updated.
  void step(double lr, double norm);
  void zero_grad();

  // "<parameter>.exp_avg", "<parameter>.exp_avg_sq" in named order, and "step" [1] int64.
  std::vector<std::pair<std::string, at::Tensor>> state() const;
  // Error: missing or misshapen entries.
  void load_state(const std::map<std::string, at::Tensor>& state);
  int64_t steps() const { return steps_; }

 private:
  struct Group {
    std::vector<at::Tensor> parameters, exp_avg, exp_avg_sq, steps;
    double weight_decay = 0;
  };
  OptimizerConfig config_;
  NamedParameters named_;
  std::map<std::string, std::pair<at::Tensor, at::Tensor>> moments_;
  std::vector<Group> groups_;
  std::vector<at::Tensor> trained_;
  int64_t steps_ = 0;
};

}  // namespace continuo
