// Residual addition and RMSNorm in one pass. The residual stream is float32 whatever the products are computed in.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

namespace continuo {

struct NormOutput {
  at::Tensor residual;    // [N, hidden] float32: residual + delta
  at::Tensor normalised;  // [N, hidden] in the dtype asked for
};

struct RmsNormImpl : torch::nn::Module {
  RmsNormImpl(int64_t hidden, double epsilon);

  // y = (r / sqrt(mean(r²) + ε)) · weight with r = residual + delta (arXiv 1910.07467). residual: [N, hidden] float32;
  // delta: [N, hidden] in `dtype`, or undefined.
  NormOutput forward(const at::Tensor& residual, const at::Tensor& delta, at::ScalarType dtype);

  at::Tensor weight;  // [hidden], float32
  double epsilon;
};
TORCH_MODULE(RmsNorm);

}  // namespace continuo
