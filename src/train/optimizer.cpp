#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include "core/error.h"

namespace continuo {

void fields(FieldVisitor& v, OptimizerConfig& c) {
  v.field("beta1", c.beta1, "Decay of AdamW's first moment.", Range::between(0, 1));
  v.field("beta2", c.beta2, "Decay of AdamW's second moment.", Range::between(0, 1));
  v.field("epsilon", c.epsilon, "AdamW's epsilon.", Range::positive());
  v.field("weight_decay", c.weight_decay,
          "Decoupled decay of matrices (norms and biases have none).", Range::at_least(0));
  v.field("clip", c.clip, "Largest global gradient norm; 0 = no clipping.", Range::at_least(0));
}

AdamW::AdamW(NamedParameters parameters, const OptimizerConfig& config)
    : config_(config), named_(std::move(parameters)) {
  Group decayed, plain;
  decayed.weight_decay = config.weight_decay;
  for (const auto& [name, parameter] : named_) {
    if (!parameter.requires_grad()) continue;
    Group& group = parameter.dim() >= 2 ? decayed : plain;
    const at::Tensor first = at::zeros_like(parameter), second = at::zeros_like(parameter);
    moments_.emplace(name, std::pair{first, second});
    group.parameters.push_back(parameter);
    group.exp_avg.push_back(first);
    group.exp_avg_sq.push_back(second);
    group.steps.push_back(at::full({}, 0.0, parameter.options().requires_grad(false)));
  }
  for (Group* group : {&decayed, &plain}) {
    trained_.insert(trained_.end(), group->parameters.begin(), group->parameters.end());
    if (!group->parameters.empty()) groups_.push_back(std::move(*group));
  }
}

void AdamW::step(double lr, double norm) {
  if (!std::isfinite(norm)) return;
  const c10::NoGradGuard no_grad;
  std::vector<std::vector<at::Tensor>> gradients(groups_.size());
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (at::Tensor& parameter : groups_[g].parameters) {
      // A parameter that no supervised token reached has a zero gradient; moments and decay still
      // act on it.
      if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter);
      gradients[g].push_back(parameter.grad());
    }
  }
  ++steps_;
  // The kernel divides gradients by grad_scale: clipping costs no pass of its own.
  const double divisor = config_.clip > 0 ? std::max(1.0, norm / config_.clip) : 1.0;
  std::optional<at::Tensor> scale;
  if (divisor > 1.0) scale = at::full({}, divisor, trained_.front().options().requires_grad(false));
  for (size_t g = 0; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    for (at::Tensor& count : group.steps) count.fill_(static_cast<double>(steps_));
    at::_fused_adamw_(group.parameters, gradients[g], group.exp_avg, group.exp_avg_sq, {},
                      group.steps, lr, config_.beta1, config_.beta2, group.weight_decay,
                      config_.epsilon, false, false, scale);
    // The fused kernel leaves version counters alone; copies in other dtypes (nn/linear.h) go by
    // them.
    for (const at::Tensor& parameter : group.parameters) {
      parameter.unsafeGetTensorImpl()->bump_version();
    }
  }
  zero_grad();
}

void AdamW::zero_grad() {
  for (auto& [name, parameter] : named_) parameter.mutable_grad() = at::Tensor();
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::state() const {
  std::vector<std::pair<std::string, at::Tensor>> out;
  out.emplace_back("step", at::full({1}, steps_, at::TensorOptions(at::kLong)));
  for (const auto& [name, parameter] : named_) {
    const auto found = moments_.find(name);
    if (found == moments_.end()) continue;
    out.emplace_back(name + ".exp_avg", found->second.first);
    out.emplace_back(name + ".exp_avg_sq", found->second.second);
  }
  return out;
}

void AdamW::load_state(const std::map<std::string, at::Tensor>& state) {
  const c10::NoGradGuard no_grad;
  const auto entry = [&](const std::string& name) -> const at::Tensor& {
    const auto found = state.find(name);
    if (found == state.end()) fail("optimizer state has no '{}'", name);
    return found->second;
  };
  const at::Tensor& step = entry("step");
  if (step.numel() != 1 || step.scalar_type() != at::kLong)
    fail("optimizer state: 'step' must be one int64");
  for (auto& [name, moments] : moments_) {
    for (const auto& [suffix, moment] :
         {std::pair{".exp_avg", &moments.first}, {".exp_avg_sq", &moments.second}}) {
      const at::Tensor& saved = entry(name + suffix);
      if (saved.sizes() != moment->sizes())
        fail("optimizer state '{}{}' has the wrong shape", name, suffix);
      moment->copy_(saved);
    }
  }
  steps_ = step.item<int64_t>();
}

}  // namespace continuo
