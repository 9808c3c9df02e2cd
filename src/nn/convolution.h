// The gated short convolution of a block (nn/model_spec.h, Convolve): documents never see each
// other.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "nn/kv_cache.h"
#include "nn/linear.h"
#include "nn/model_spec.h"
#include "nn/ragged.h"

namespace continuo {

// Causal depthwise convolution: y[t] = Σ_j weight[:, j] · x[t − K + 1 + j], j ascending, zeros
// before a document begins. x: [N, width]; weight: [width, K] → [N, width] float32.
at::Tensor ragged_convolution(const at::Tensor& x, const at::Tensor& weight,
                              const std::vector<int64_t>& boundaries);

struct ConvolutionImpl : torch::nn::Module {
  ConvolutionImpl(int64_t hidden, const Convolve& spec, int64_t layer);
  // x: [N, hidden] → [N, hidden].
  at::Tensor forward(const at::Tensor& x, const RaggedInput& input, const CachedSequences* cached);

  Linear in{nullptr}, output{nullptr};
  at::Tensor kernel, bias;  // [hidden, K]; [hidden] or undefined

 private:
  int64_t layer_;
};
TORCH_MODULE(Convolution);

}  // namespace continuo
