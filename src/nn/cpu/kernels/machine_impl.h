// Included by kernels_impl.cpp only, once per instruction set.
#pragma once

#include "nn/cpu/kernels/machine.h"
#include "nn/cpu/kernels/vec.h"

namespace continuo {
namespace {

float machine_read(int64_t n, const float* x) {
  constexpr int64_t kStride = 8 * kLanes;
  Vec sums[8] = {};
  int64_t i = 0;
  for (; i + kStride <= n; i += kStride) {
    for (int64_t v = 0; v < 8; ++v) sums[v] += load(x + i + v * kLanes);
  }
  float tail = 0;
  for (; i < n; ++i) tail += x[i];
  for (int64_t v = 1; v < 8; ++v) sums[0] += sums[v];
  return sum(sums[0]) + tail;
}

// Chains enough to hide the latency of the unit and few enough to stay in registers.
#ifdef __AVX512F__
constexpr int kChains = 12;
#elif defined(__AVX__)
constexpr int kChains = 6;  // of two registers each
#else
constexpr int kChains = 2;
#endif

float machine_multiply_add(int64_t rounds) {
  const Vec half = splat(0.5f), one = splat(1.0f);
  // The compiler must not know that registers start alike: it would compute equal ones once.
  volatile float zero = 0;
  float start[kChains * kLanes];
  for (int i = 0; i < kChains * kLanes; ++i) start[i] = zero + static_cast<float>(i / kLanes);
  Vec chains[kChains];
  for (int c = 0; c < kChains; ++c) chains[c] = load(start + c * kLanes);
  for (int64_t r = 0; r < rounds; ++r) {
    for (int c = 0; c < kChains; ++c) chains[c] = chains[c] * half + one;
  }
  for (int c = 1; c < kChains; ++c) chains[0] += chains[c];
  return sum(chains[0]);
}

constexpr MachineKernels kMachineKernels = {machine_read, machine_multiply_add, kChains* kLanes};

}  // namespace
}  // namespace continuo
