// What cores and memory can do at most, as loops that do nothing else: the roofs that `continuo
// bench` compares with.
#pragma once

#include <cstdint>

namespace continuo {

struct MachineKernels {
  // Σ x[i]: reads 4 · n bytes as one stream, several vectors ahead of its additions.
  float (*read)(int64_t n, const float* x);
  // `rounds` times `multiply_adds` independent float multiply-adds a ← a · 0.5 + 1, which tend to 2
  // each; returns their sum.
  float (*multiply_add)(int64_t rounds);
  int64_t multiply_adds;  // of a round, each of two FLOP
};

}  // namespace continuo
