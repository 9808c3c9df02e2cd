#include "train/gradients.h"

#include <algorithm>

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

namespace continuo {

namespace {

// LibTorch's norms of the CPU add up in float32: over millions of elements they are wrong in the
// fourth digit. Of so many they are right in the seventh.
constexpr int64_t kRow = 1 << 14;

}  // namespace

void add_stretch(Share& share, int64_t begin, const std::pair<std::string, at::Tensor>& parameter,
                 int64_t at) {
  const auto& [name, values] = parameter;
  const int64_t first = std::max(begin, at),
                last = std::min(begin + share.weight.numel(), at + values.numel());
  if (first < last) {
    share.stretches.push_back(
        {name, values.sizes().vec(), first - at, first - begin, last - first});
  }
}

void Gradients::hand_over(const Take& take) {
  settle();
  if (ranks().is_first()) take(parameters());
}

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
  std::vector<at::Tensor> gradients;
  for (const Share& share : shares_) {
    if (share.weight.grad().defined()) gradients.push_back(share.weight.grad());
  }
  for (Share& share : shares_) {
    // A parameter that no supervised token reached has a zero gradient; moments and decay still
    // act on it.
    share.gradient =
        share.weight.grad().defined() ? share.weight.grad() : at::zeros_like(share.weight);
  }
  if (gradients.empty()) {
    const at::Device device = shares_.empty() ? at::kCPU : shares_.front().weight.device();
    return at::zeros({}, at::TensorOptions(at::kDouble).device(device));
  }
  const auto is_short = [](const at::Tensor& g) { return g.numel() < kRow; };
  if (!std::ranges::all_of(gradients, is_short)) return sum_of_squares(gradients);
  // As earlier versions did, whose runs go on with the same bits.
  return at::stack(at::_foreach_norm(gradients, 2)).norm().to(at::kDouble).square();
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

at::Tensor sum_of_squares(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> norms;
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor flat = tensor.reshape({-1});
    const int64_t whole = flat.numel() / kRow * kRow;
    const at::Tensor rest = flat.narrow(0, whole, flat.numel() - whole);
    if (whole > 0)
      norms.push_back(at::linalg_vector_norm(flat.narrow(0, 0, whole).view({-1, kRow}), 2, {1}));
    if (rest.numel() > 0) norms.push_back(at::linalg_vector_norm(rest, 2).reshape({1}));
  }
  return at::cat(norms).to(at::kDouble).square().sum();
}

void bump_versions(const NamedParameters& parameters) {
  for (const auto& [name, parameter] : parameters) parameter.unsafeGetTensorImpl()->bump_version();
}

}  // namespace continuo
