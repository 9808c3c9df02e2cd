// What training and generation know of a model: tokens to hidden states, hidden states to logits. Families (models/)
// build one; nothing else of a family is visible.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include "nn/kv_cache.h"
#include "nn/ragged.h"

namespace continuo {

// Sizes that callers outside nn need.
struct DecoderShape {
  int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, vocabulary = 0;
  int64_t context = 0;  // the longest position + 1 that the model was made for
};

class Decoder : public torch::nn::Module {
 public:
  ~Decoder() override = default;

  // With a cache, document d continues sequence `cache->active(d)` and is appended to it.
  virtual at::Tensor forward(const RaggedInput& input, KVCache* cache = nullptr) = 0;  // → [N, hidden]
  // Rows of hidden states to the vocabulary.
  virtual at::Tensor logits(const at::Tensor& rows) = 0;  // [M, hidden] → [M, V] float32
  // The head's weight, for losses that fuse head and cross-entropy.
  virtual at::Tensor head_weight() = 0;  // [V, hidden]

  virtual const DecoderShape& shape() const = 0;
};

}  // namespace continuo
