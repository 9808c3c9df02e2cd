// The MLP of a block: activation(x·Gᵀ) · (x·Uᵀ) or activation(x·Uᵀ), then the projection back.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "nn/activation.h"
#include "nn/linear.h"

namespace continuo {

struct MlpOptions {
  int64_t hidden = 0, intermediate = 0;
  Activation activation = Activation::silu;
  bool gated = true;
  bool bias = false;
};

struct MlpImpl : torch::nn::Module {
  explicit MlpImpl(const MlpOptions& options);
  at::Tensor forward(const at::Tensor& x);  // [N, hidden] → [N, hidden]

  Linear gate{nullptr};  // absent when not gated
  Linear up{nullptr}, down{nullptr};

 private:
  Activation activation_;
};
TORCH_MODULE(Mlp);

}  // namespace continuo
