// Causal attention over a ragged batch: every document attends to itself alone. One function for
// training, one that continues cached sequences; the only places that look at document boundaries.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/kv_cache.h"

namespace continuo {

struct AttentionLimits {
  // A token sees the last `window` tokens, itself included; 0 = all of its document.
  int64_t window = 0;
  // Scores s become softcap · tanh(s / softcap) before the softmax; 0 = as they are.
  double softcap = 0;
};

// q: [N, heads, dim], k and v: [N, kv_heads, dim], heads a multiple of kv_heads, one dtype → [N,
// heads, dim]. Softmax in float32. Cost: Σ nᵢ · min(nᵢ, window).
at::Tensor ragged_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<int64_t>& boundaries, double scale,
                            const AttentionLimits& limits = {});

// As above, for documents that continue the cache's active sequences: their keys and values are
// appended to `layer` and the queries see the whole sequence. No gradients. Room must have been
// reserved; the caller commits the lengths.
at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<int64_t>& boundaries, double scale, KVCache& cache,
                            int64_t layer, const AttentionLimits& limits = {});

}  // namespace continuo
