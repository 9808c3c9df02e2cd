// The CPU kernels: fused elementwise passes, products, attention and cross-entropy. Plain pointers
// and row ranges, no tensors, no threads: callers split the work. Compiled once per instruction
// set; `kernels()` picks the best one that this CPU runs. Sums are in float lanes of fixed order,
// so a row's result does not depend on which other rows are computed beside it. Storage types:
// float, or uint16_t holding bfloat16.
#pragma once

#include <array>
#include <cstdint>

#include "nn/cpu/kernels/attention.h"
#include "nn/cpu/kernels/gemm.h"
#include "nn/cpu/kernels/machine.h"
#include "nn/cpu/kernels/packed.h"
#include "nn/cpu/kernels/page.h"
#include "nn/cpu/kernels/row.h"

namespace continuo {

struct CrossEntropyTerms {
  float nll = 0;         // −log p(target)
  float loss = 0;        // with label smoothing and z-loss
  float entropy = 0;     // of the predicted distribution, nats
  bool correct = false;  // target is the (first) argmax
};

template <class T>
struct TypedKernels {
  // sum = residual + delta (delta may be null: sum is residual and is not written), y = sum · rstd
  // · weight, rstd = (mean(sum²) + eps)^-½. residual, sum: float [rows, hidden]; delta, y: T; rstd:
  // [rows].
  void (*add_rms_norm)(int64_t rows, int64_t hidden, const float* residual, const T* delta,
                       const float* weight, float eps, float* sum, T* y, float* rstd);
  // Its backward. dsum: gradient that reaches `sum` from elsewhere (may be null). Writes dx [rows,
  // hidden] float, the same as T into ddelta (may be null), and adds to dweight [hidden].
  void (*add_rms_norm_backward)(int64_t rows, int64_t hidden, const T* dy, const float* dsum,
                                const float* sum, const float* weight, const float* rstd, float* dx,
                                T* ddelta, float* dweight);
  // Rotates halves (x1, x2) → (x1·cos − x2·sin, x2·cos + x1·sin); sign −1 is the backward. in, out:
  // [rows, heads, dim]; cos, sin: [positions, dim/2] float.
  void (*rope)(int64_t rows, int64_t heads, int64_t dim, const T* in, const int64_t* positions,
               const float* cos, const float* sin, float sign, T* out);
  // out = silu(gate) · up over n elements.
  void (*swiglu)(int64_t n, const T* gate, const T* up, T* out);
  void (*swiglu_backward)(int64_t n, const T* dout, const T* gate, const T* up, T* dgate, T* dup);
  // One row of logits [vocabulary]; with `gradient` they are replaced by d(loss)/d(logits) · scale.
  CrossEntropyTerms (*cross_entropy)(int64_t vocabulary, T* logits, int64_t target,
                                     float label_smoothing, float z_loss, bool gradient,
                                     float scale);
};

struct Kernels {
  const char* instruction_set;
  TypedKernels<float> f32;
  TypedKernels<uint16_t> bf16;
  PackedKernels packed;
  MachineKernels machine;
  RowKernels row;
  AttentionKernels<float> attention_f32;
  AttentionKernels<uint16_t> attention_bf16;
  GemmKernels<float> gemm_f32;
  GemmKernels<uint16_t> gemm_bf16;
  PageKernels<float> page_f32;
  PageKernels<uint16_t> page_bf16;
  PageKernels<int8_t> page_q8;
  EngineKernels engine;

  template <class T>
  const TypedKernels<T>& typed() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      return f32;
    } else {
      return bf16;
    }
  }
  template <class T>
  const AttentionKernels<T>& attention() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      return attention_f32;
    } else {
      return attention_bf16;
    }
  }
  template <class T>
  const PageKernels<T>& page() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      return page_f32;
    } else if constexpr (sizeof(T) == sizeof(uint16_t)) {
      return page_bf16;
    } else {
      return page_q8;
    }
  }
  template <class T>
  const GemmKernels<T>& gemm() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      return gemm_f32;
    } else {
      return gemm_bf16;
    }
  }
};

// Best first.
inline constexpr std::array<const char*, 4> kInstructionSets = {"avx512vnni", "avx512", "avx2",
                                                                "portable"};

// nullptr when this build or CPU lacks it.
const Kernels* kernels_for(const char* instruction_set);
// The table of `wanted`; of nullptr or "" the best that this CPU has. Error: unknown, or one that
// the CPU lacks.
const Kernels& choose_kernels(const char* wanted);
// What CONTINUO_ISA in the environment names, else the best, the same for the life of the process.
// Error: as above, so a program asks once before its threads do.
const Kernels& kernels();

}  // namespace continuo
