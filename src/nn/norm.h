// Residual addition and RMSNorm or LayerNorm in one pass. The residual stream is float32 whatever
// the products are computed in.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "nn/model_spec.h"

namespace continuo {

struct NormOutput {
  at::Tensor residual;    // [N, hidden] float32: residual + delta
  at::Tensor normalised;  // [N, hidden] in the dtype asked for
};

struct NormImpl : torch::nn::Module {
  NormImpl(int64_t hidden, const NormSpec& options);

  // y = (r / sqrt(mean(r²) + ε)) · weight with r = residual + delta (arXiv 1910.07467), or
  // LayerNorm of r. residual: [N, hidden] float32; delta: [N, hidden] in `dtype`, or undefined.
  NormOutput forward(const at::Tensor& residual, const at::Tensor& delta, at::ScalarType dtype);
  // y alone, of x: [N, hidden] in any float dtype → [N, hidden] in that dtype.
  at::Tensor apply_to(const at::Tensor& x);

  at::Tensor weight;  // [hidden], float32
  at::Tensor bias;    // [hidden], float32, LayerNorm only
  NormSpec spec;
};
TORCH_MODULE(Norm);

}  // namespace continuo
