// The MLP of a block: activation(x·Gᵀ) · (x·Uᵀ) or activation(x·Uᵀ), then the projection back.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "nn/linear.h"
#include "nn/model_spec.h"

namespace continuo {

struct MlpImpl : torch::nn::Module {
  MlpImpl(int64_t hidden, const Dense& spec);
  at::Tensor forward(const at::Tensor& x);  // [N, hidden] → [N, hidden]

  Linear gate{nullptr};  // absent when not gated
  Linear up{nullptr}, down{nullptr};

 private:
  Activation activation_;
};
TORCH_MODULE(Mlp);

}  // namespace continuo
