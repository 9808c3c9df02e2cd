// Causal attention over a ragged batch: every document attends to itself alone. One function for
// training, one that continues cached sequences; the only places that look at document boundaries.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/backend.h"
#include "nn/kv_cache.h"

namespace continuo {

// q: [N, heads, dim], k and v: [N, kv_heads, dim], heads a multiple of kv_heads, one dtype → [N,
// heads, dim]. Softmax in float32. Cost: Σ nᵢ · min(nᵢ, window). Error: an empty document.
at::Tensor ragged_attention(const AttendInput& input);

// As above, for documents that continue cached sequences: their keys and values are appended to
// `layer` and the queries see the whole sequence. No gradients. The cache must have been prepared;
// the caller commits the lengths.
at::Tensor cached_attention(AttendInput input, const CachedSequences& cached, int64_t layer);

}  // namespace continuo
