// The mixture of experts of a block (nn/model_spec.h, Experts).
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/model_spec.h"

namespace continuo {

struct MixtureImpl : torch::nn::Module {
  MixtureImpl(int64_t hidden, const Experts& spec);
  // [N, hidden] → [N, hidden]. An expert that no row chose takes part in no gradient. Reads the
  // choice on the host: experts are computed one by one.
  at::Tensor forward(const at::Tensor& x);

  Linear router{nullptr};
  std::vector<Mlp> experts;

 private:
  int64_t chosen_;
  bool normalised_;
};
TORCH_MODULE(Mixture);

}  // namespace continuo
