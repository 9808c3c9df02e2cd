#include "train/gradients.h"

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

namespace continuo {

LocalGradients::LocalGradients(const NamedParameters& parameters) {
  for (const auto& [name, parameter] : parameters) {
    if (!parameter.requires_grad()) continue;
    parameters_.emplace_back(name, parameter);
    shares_.push_back({.weight = parameter,
                       .gradient = {},
                       .decays = parameter.dim() >= 2,
                       .stretches = {{name, parameter.sizes().vec(), 0, 0, parameter.numel()}}});
  }
}

at::Tensor LocalGradients::sum() {
  const c10::NoGradGuard no_grad;
  const at::Tensor norm = gradient_norm(parameters_);
  for (Share& share : shares_) {
    // A parameter that no supervised token reached has a zero gradient; moments and decay still
    // act on it.
    share.gradient =
        share.weight.grad().defined() ? share.weight.grad() : at::zeros_like(share.weight);
  }
  if (!norm.defined()) return at::zeros({}, at::kDouble);
  return norm.to(at::kDouble).square();
}

void LocalGradients::updated() {
  bump_versions(parameters_);
  discard();
}

void LocalGradients::discard() {
  for (Share& share : shares_) {
    share.gradient.reset();
    share.weight.mutable_grad().reset();
  }
}

at::Tensor gradient_norm(const NamedParameters& parameters) {
  const c10::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const auto& [name, parameter] : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  if (gradients.empty()) return {};
  return at::stack(at::_foreach_norm(gradients, 2)).norm();
}

void bump_versions(const NamedParameters& parameters) {
  for (const auto& [name, parameter] : parameters) parameter.unsafeGetTensorImpl()->bump_version();
}

}  // namespace continuo
