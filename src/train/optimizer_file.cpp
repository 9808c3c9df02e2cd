#include "train/optimizer_file.h"

#include <array>

#include <ATen/ops/full.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "io/safetensors.h"
#include "io/safetensors_patch.h"

namespace continuo {

namespace {

constexpr const char* kStep = "step";
constexpr std::array kMoments = {".exp_avg", ".exp_avg_sq"};

std::array<at::Tensor, 2> moments_of(const AdamW& optimizer, size_t share) {
  return {optimizer.exp_avg(share).view({-1}), optimizer.exp_avg_sq(share).view({-1})};
}

std::vector<TensorOutline> outline(const Gradients& gradients) {
  std::vector<TensorOutline> tensors = {{kStep, at::kLong, {1}}};
  for (const auto& [name, parameter] : gradients.parameters()) {
    for (const char* moment : kMoments)
      tensors.push_back({name + moment, at::kFloat, parameter.sizes().vec()});
  }
  return tensors;
}

}  // namespace

void save_optimizer(const std::filesystem::path& path, const AdamW& optimizer) {
  Gradients& gradients = optimizer.gradients();
  Communicator& ranks = gradients.ranks();
  if (ranks.is_first()) create_safetensors(path, outline(gradients));
  const std::filesystem::path file = ranks.broadcast(path.string(), "a checkpoint's beginning");
  SafetensorsPatch patch(file);
  if (ranks.is_first()) patch.write(kStep, 0, at::full({1}, optimizer.steps(), at::kLong));
  const std::vector<Share>& shares = gradients.shares();
  for (size_t i = 0; gradients.saves() && i < shares.size(); ++i) {
    const auto moments = moments_of(optimizer, i);
    for (const Stretch& s : shares[i].stretches) {
      for (size_t m = 0; m < moments.size(); ++m)
        patch.write(s.parameter + kMoments[m], s.first, moments[m].narrow(0, s.at, s.count));
    }
  }
  patch.close();
  ranks.barrier("the others' parts of a checkpoint");
}

void load_optimizer(const std::filesystem::path& path, AdamW& optimizer) {
  const c10::NoGradGuard no_grad;
  const SafetensorsFile file(path);
  const auto entry = [&](const std::string& name, at::IntArrayRef shape, at::ScalarType dtype) {
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end()) fail("{}: has no '{}'", path.string(), name);
    if (at::IntArrayRef(found->second.shape) != shape || found->second.dtype != dtype)
      fail("{}: '{}' has the wrong shape or dtype", path.string(), name);
    return file.tensor(name);
  };
  const std::vector<Share>& shares = optimizer.gradients().shares();
  for (size_t i = 0; i < shares.size(); ++i) {
    const auto moments = moments_of(optimizer, i);
    for (const Stretch& s : shares[i].stretches) {
      for (size_t m = 0; m < moments.size(); ++m) {
        const at::Tensor saved = entry(s.parameter + kMoments[m], s.shape, at::kFloat);
        moments[m].narrow(0, s.at, s.count).copy_(saved.view({-1}).narrow(0, s.first, s.count));
      }
    }
  }
  optimizer.set_steps(entry(kStep, {1}, at::kLong).item<int64_t>());
}

}  // namespace continuo
