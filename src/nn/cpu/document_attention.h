// Causal attention of many documents by the CPU's kernels (kernels/attention.h): all heads of all
// documents in one parallel region, the longest documents first.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/backend.h"
#include "nn/cpu/kernels/attention.h"

namespace continuo {

// One document's share of a pass: queries at rows `query` … of q, keys and values where they lie.
struct DocumentAttention {
  int64_t query;              // its first row
  const void *keys, *values;  // of KV head 0 at key 0, in q's dtype
  int64_t head_step;          // elements between KV heads
  AttentionShape shape;
};

bool kernels_attend(at::ScalarType dtype, int64_t head_dim);

// q: [N, heads, dim], contiguous. No gradients.
AttendValues attend_documents(const at::Tensor& q, const std::vector<DocumentAttention>& documents,
                              int64_t kv_heads);

// AttendOps for what `kernels_attend` takes, without a softcap.
AttendValues attend_whole_documents(const AttendInput& input);
AttendGradients attend_whole_documents_backward(const AttendInput& input,
                                                const AttendValues& values, const at::Tensor& dout);

}  // namespace continuo
