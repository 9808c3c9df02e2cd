// What training and generation know of a model: tokens to hidden states, hidden states to logits.
// Families (models/) build one; nothing else of a family is visible.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include "nn/head.h"
#include "nn/kv_cache.h"
#include "nn/ragged.h"
#include "nn/weight_format.h"

namespace continuo {

// Sizes that callers outside nn need.
struct DecoderShape {
  int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, vocabulary = 0;
  int64_t context = 0;  // the longest position + 1 that the model was made for
};

// How a forward pass computes; the parameters stay as they are.
struct ComputeOptions {
  at::ScalarType dtype = at::kFloat;  // of the products: float32 or bfloat16
  bool recompute = false;             // keep only block inputs while training
  // How decoding on the CPU reads the weights; nothing: as `dtype`. q8 and q4 serve every pass
  // without gradients.
  std::optional<WeightFormat> weights = {};

  WeightFormat weight_format() const {
    return weights.value_or(dtype == at::kBFloat16 ? WeightFormat::bf16 : WeightFormat::f32);
  }
};

class Decoder : public torch::nn::Module {
 public:
  ~Decoder() override = default;

  // → [N, hidden] in the compute dtype. With a cache, document d continues sequence
  // cache->active()[d] and is appended to it.
  virtual at::Tensor forward(const RaggedInput& input, KVCache* cache = nullptr) = 0;
  // Rows of hidden states to the vocabulary.
  virtual at::Tensor logits(const at::Tensor& rows) = 0;  // [M, hidden] → [M, V] float32
  // For losses that fuse it with the softmax; its cast is in `dtype`.
  virtual Head head(at::ScalarType dtype) = 0;

  virtual const DecoderShape& shape() const = 0;
  virtual void set_compute(const ComputeOptions& options) = 0;
  virtual const ComputeOptions& compute() const = 0;
};

}  // namespace continuo
