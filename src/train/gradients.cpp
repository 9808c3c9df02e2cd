#include "train/gradients.h"

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

namespace continuo {

namespace {

// Over the parameters that have a gradient; [] float32, undefined where none has.
at::Tensor gradient_norm(const std::vector<Share>& shares) {
  std::vector<at::Tensor> gradients;
  for (const Share& share : shares) {
    if (share.weight.grad().defined()) gradients.push_back(share.weight.grad());
  }
  if (gradients.empty()) return {};
  return at::stack(at::_foreach_norm(gradients, 2)).norm();
}

}  // namespace

LocalGradients::LocalGradients(const NamedParameters& parameters) {
  for (const auto& [name, parameter] : parameters) {
    if (parameter.requires_grad()) parameters_.emplace_back(name, parameter);
  }
  // Matrices first: the bits of the norm go by this order, and those of every earlier run with it.
  for (const bool decays : {true, false}) {
    for (const auto& [name, parameter] : parameters_) {
      if ((parameter.dim() >= 2) != decays) continue;
      shares_.push_back({.weight = parameter,
                         .gradient = {},
                         .decays = decays,
                         .stretches = {{name, parameter.sizes().vec(), 0, 0, parameter.numel()}}});
    }
  }
}

at::Tensor LocalGradients::sum() {
  const c10::NoGradGuard no_grad;
  const at::Tensor norm = gradient_norm(shares_);
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

void bump_versions(const NamedParameters& parameters) {
  for (const auto& [name, parameter] : parameters) parameter.unsafeGetTensorImpl()->bump_version();
}

}  // namespace continuo
