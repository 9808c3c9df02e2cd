#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

namespace continuo {

void fields(FieldVisitor& v, OptimizerConfig& c) {
  v.field("beta1", c.beta1, "Decay of AdamW's first moment.", Range::between(0, 1));
  v.field("beta2", c.beta2, "Decay of AdamW's second moment.", Range::between(0, 1));
  v.field("epsilon", c.epsilon, "AdamW's epsilon.", Range::positive());
  v.field("weight_decay", c.weight_decay,
          "Decoupled decay of matrices (norms and biases have none).", Range::at_least(0));
  v.field("clip", c.clip, "Largest global gradient norm; 0 = no clipping.", Range::at_least(0));
}

AdamW::AdamW(Gradients& gradients, const OptimizerConfig& config)
    : gradients_(gradients), config_(config) {
  for (const Share& share : gradients.shares()) {
    exp_avg_.push_back(at::zeros_like(share.weight));
    exp_avg_sq_.push_back(at::zeros_like(share.weight));
  }
}

void AdamW::step(double lr, double norm) {
  if (!std::isfinite(norm)) return;
  const c10::NoGradGuard no_grad;
  ++steps_;
  const std::vector<Share>& shares = gradients_.shares();
  // The kernel divides gradients by grad_scale: clipping costs no pass of its own.
  const double divisor = config_.clip > 0 ? std::max(1.0, norm / config_.clip) : 1.0;
  for (const bool decays : {true, false}) {
    std::vector<at::Tensor> weights, gradients, first, second;
    for (size_t i = 0; i < shares.size(); ++i) {
      if (shares[i].decays != decays) continue;
      weights.push_back(shares[i].weight);
      gradients.push_back(shares[i].gradient);
      first.push_back(exp_avg_[i]);
      second.push_back(exp_avg_sq_[i]);
    }
    if (weights.empty()) continue;
    const auto number = weights.front().options().requires_grad(false);
    // The same for all: on a GPU filling one each would be a launch each.
    const std::vector<at::Tensor> counts(weights.size(),
                                         at::full({}, static_cast<double>(steps_), number));
    std::optional<at::Tensor> scale;
    if (divisor > 1.0) scale = at::full({}, divisor, number);
    at::_fused_adamw_(weights, gradients, first, second, {}, counts, lr, config_.beta1,
                      config_.beta2, decays ? config_.weight_decay : 0, config_.epsilon, false,
                      false, scale);
  }
  gradients_.updated();
}

}  // namespace continuo
