// A benchmark of one kernel, run for every instruction set of this CPU. A new kernel is a function
// that makes its arguments and hands `measure` one call with what it moves and computes, and a row
// in its header's table.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "nn/cpu/kernels/kernels.h"

namespace continuo::bench {

struct KernelBench {
  std::string name;
  void (*run)(benchmark::State& state, const Kernels& kernels);
};

// The tables, one a header of src/nn/cpu/kernels.
std::vector<KernelBench> typed_benches();      // kernels.h
std::vector<KernelBench> packed_benches();     // packed.h
std::vector<KernelBench> machine_benches();    // machine.h
std::vector<KernelBench> attention_benches();  // attention.h
std::vector<KernelBench> gemm_benches();       // gemm.h
std::vector<KernelBench> row_benches();        // row.h
std::vector<KernelBench> page_benches();       // page.h

// Of one call. Bytes: what has to be read and written; FLOP: additions and multiplications that the
// formula needs.
struct Work {
  int64_t bytes = 0, flop = 0;
};

template <class Call>
void measure(benchmark::State& state, const Work& work, Call call) {
  for (auto _ : state) {
    call();
    benchmark::ClobberMemory();
  }
  using benchmark::Counter;
  const auto rate = Counter::kIsIterationInvariantRate;
  if (work.bytes) state.counters["B/s"] = Counter(static_cast<double>(work.bytes), rate);
  if (work.flop) state.counters["FLOP/s"] = Counter(static_cast<double>(work.flop), rate);
}

// Numbers in ±1, as float or bfloat16.
template <class T>
std::vector<T> values(int64_t n) {
  std::vector<T> out(n);
  for (int64_t i = 0; i < n; ++i) {
    const float x = std::sin(0.7f * static_cast<float>(i % 9973));
    if constexpr (sizeof(T) == sizeof(float)) {
      out[i] = x;
    } else {
      uint32_t bits;
      std::memcpy(&bits, &x, sizeof bits);
      out[i] = static_cast<T>(bits >> 16);
    }
  }
  return out;
}

// The shapes of SmolLM2-135M; `kRows` tokens at once in training.
inline constexpr int64_t kHidden = 576, kIntermediate = 1536, kHeads = 9, kKvHeads = 3, kDim = 64,
                         kVocabulary = 49152;
inline constexpr int64_t kRows = 256;

}  // namespace continuo::bench
