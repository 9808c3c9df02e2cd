// The forward pass of decoding over weights that a device holds in a form of its own.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/ragged.h"
#include "nn/rope.h"

namespace continuo {

class KVCache;

// What an engine needs of a layer; undefined where the family has none. Matrices [out, in], vectors
// [out], norms as factors.
struct EngineLayerWeights {
  at::Tensor attention_norm, mlp_norm, query_norm, key_norm;
  at::Tensor query, key, value, output, gate, up, down;
  at::Tensor query_bias, key_bias, value_bias, output_bias, gate_bias, up_bias, down_bias;
};
struct EngineWeights {
  std::vector<EngineLayerWeights> layers;
  at::Tensor norm, head;
};

class DecodeEngine {
 public:
  virtual ~DecodeEngine() = default;

  // embedded: [N, hidden] float32 → the normalised hidden states [N, hidden] float32. Document d
  // continues cache.active()[d], which has room for its tokens; keys and values are written, not
  // committed. `near` is the rotation of layers with a window where the family has one of their
  // own.
  virtual at::Tensor forward(const at::Tensor& embedded, const RaggedInput& input,
                             const Rotation& far, const Rotation& near, KVCache& cache) = 0;
  // [M, hidden] float32 → [M, vocabulary] float32
  virtual at::Tensor logits(const at::Tensor& hidden) = 0;
  // The head as `logits` sees it, [vocabulary, hidden].
  virtual at::Tensor head() const = 0;
  virtual int64_t weight_bytes() const = 0;  // of all matrices, each of which a pass reads once
};

}  // namespace continuo
