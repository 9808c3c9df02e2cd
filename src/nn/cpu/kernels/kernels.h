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

// sum = residual + delta, y = sum · rstd · weight, rstd = (mean(sum²) + eps)^-½.
template <class T>
struct RmsNormRows {
  int64_t rows, hidden;
  const float* residual;  // [rows, hidden]
  const T* delta;         // [rows, hidden]; null: sum is residual and is not written
  const float* weight;    // [hidden]
  float eps;
  float* sum;   // [rows, hidden]
  T* y;         // [rows, hidden]
  float* rstd;  // [rows]
};

// Its gradients, by what the forward pass read and wrote.
template <class T>
struct RmsNormRowsBackward {
  int64_t rows, hidden;
  const T* dy;        // [rows, hidden]
  const float* dsum;  // [rows, hidden], what reaches `sum` from elsewhere; may be null
  const float *sum, *weight, *rstd;
  float* dx;       // [rows, hidden]
  T* ddelta;       // [rows, hidden], dx as T; may be null
  float* dweight;  // [hidden], is added to
};

// Rotates halves (x1, x2) → (x1·cos − x2·sin, x2·cos + x1·sin).
template <class T>
struct RopeRows {
  int64_t rows, heads, dim;
  const T* in;               // [rows, heads, dim]
  const int64_t* positions;  // [rows]
  const float *cos, *sin;    // [positions, dim / 2]
  float sign;                // of sin; −1 is the backward
  T* out;                    // [rows, heads, dim], may be `in`
};

// One row of logits.
template <class T>
struct CrossEntropyRow {
  int64_t vocabulary;
  T* logits;  // [vocabulary]; with `gradient` they are replaced by d(loss)/d(logits) · scale
  int64_t target;
  float label_smoothing = 0, z_loss = 0;
  bool gradient = false;
  float scale = 1;
};

template <class T>
struct TypedKernels {
  void (*add_rms_norm)(const RmsNormRows<T>& norm);
  void (*add_rms_norm_backward)(const RmsNormRowsBackward<T>& norm);
  void (*rope)(const RopeRows<T>& rope);
  // out = silu(gate) · up over n elements.
  void (*swiglu)(int64_t n, const T* gate, const T* up, T* out);
  void (*swiglu_backward)(int64_t n, const T* dout, const T* gate, const T* up, T* dgate, T* dup);
  CrossEntropyTerms (*cross_entropy)(const CrossEntropyRow<T>& row);
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
