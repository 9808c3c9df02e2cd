// The kernels of attention.h. Included by kernels_impl.cpp only.
#pragma once

#include "nn/cpu/kernels/attention_backward_impl.h"
#include "nn/cpu/kernels/attention_forward_impl.h"

namespace continuo {
namespace {

template <class T>
void sum_heads(const HeadSum<T>& given) {
  const auto [n, dim, group, parts, part_stride, to, stride] = given;
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t d = 0; d < dim; d += kLanes) {
      Vec total{};
      for (int64_t g = 0; g < group; ++g) total += load(parts + g * part_stride + t * dim + d);
      store(to + t * stride + d, total);
    }
  }
}

template <class T>
constexpr AttentionKernels<T> attention_table() {
  return {
      attention_forward_scratch<T>, attention_backward_scratch<T>, packed_values<T>, pack_values<T>,
      attention_forward<T>,         attention_backward<T>,         sum_heads<T>};
}

}  // namespace
}  // namespace continuo
