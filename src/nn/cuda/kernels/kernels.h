// Kernels of our own for GPUs, behind plain functions: pointers into the device's memory, sizes, a
// stream. Nothing here knows LibTorch, so that they compile in a second and run wherever the
// pointers do. Each starts its work and returns; an error's text, or null.
#pragma once

#include <cstdint>

#include "nn/activation.h"

namespace continuo::cuda {

using Stream = void*;  // cudaStream_t

enum class Type { f32, bf16 };

// sum = residual + delta; y = sum · rstd · weight with rstd = 1 / √(mean sum² + epsilon).
struct AddRmsNorm {
  int64_t rows = 0, hidden = 0;
  const float* residual = nullptr;
  const void* delta = nullptr;  // in `type`, or null; then `sum` may be null: nothing is written
  const float* weight = nullptr;
  float epsilon = 0;
  Type type = Type::f32;  // of delta and y
  float* sum = nullptr;
  void* y = nullptr;
  float* rstd = nullptr;
};

// With x̂ = sum · rstd and g = dy · weight: dx = rstd · (g − x̂ · mean(g · x̂)) + dsum, and
// dweight = Σ dy · x̂ over rows, in an order that the shape alone fixes.
struct AddRmsNormBackward {
  int64_t rows = 0, hidden = 0;
  const void* dy = nullptr;     // in `type`
  const float* dsum = nullptr;  // or null
  const float* sum = nullptr;
  const float* weight = nullptr;
  const float* rstd = nullptr;
  Type type = Type::f32;
  float* dx = nullptr;
  void* ddelta = nullptr;    // dx in bf16, or null
  float* dweight = nullptr;  // [hidden]
  float* partial = nullptr;  // [norm_partials(rows), hidden], to work in
};
constexpr int64_t kNormPartialRows = 128;  // that a partial sum is of
constexpr int64_t norm_partials(int64_t rows) {
  return (rows + kNormPartialRows - 1) / kNormPartialRows;
}

// out = x turned by the angles of its row's position, in the half-split layout.
struct Rotate {
  int64_t rows = 0, heads = 0, dim = 0;
  const void* x = nullptr;
  const int64_t* positions = nullptr;          // [rows]
  const float *cos = nullptr, *sin = nullptr;  // [·, dim / 2]
  float sign = 1;
  Type type = Type::f32;
  void* out = nullptr;
};

// out = activation(gate) · up, or activation(gate) where `up` is null.
struct Gate {
  int64_t count = 0;
  const void *gate = nullptr, *up = nullptr;
  Activation activation = Activation::silu;
  Type type = Type::f32;
  void* out = nullptr;
};
struct GateBackward {
  int64_t count = 0;
  const void *gradient = nullptr, *gate = nullptr, *up = nullptr;
  Activation activation = Activation::silu;
  Type type = Type::f32;
  void *dgate = nullptr, *dup = nullptr;  // dup null where up is
};

// nn/backend.h, LossOps: a row of logits is read once for its sums, and once more where its
// gradient takes its place.
struct CrossEntropy {
  int64_t rows = 0, vocabulary = 0;
  void* logits = nullptr;  // in `type`
  const int64_t* targets = nullptr;
  float label_smoothing = 0, z_loss = 0;
  bool gradient = false;
  float scale = 1;
  const float* weights = nullptr;  // [weighted], or null
  int64_t weighted = 0;
  Type type = Type::f32;
  float *loss = nullptr, *nll = nullptr, *entropy = nullptr, *correct = nullptr;  // [rows]
};

// nn/backend.h, DropoutNoise.
struct DropoutMask {
  int64_t named = 0, rows = 0, columns = 0;
  const int64_t* tokens = nullptr;  // [named]
  uint32_t key[2] = {};
  uint32_t step = 0, threshold = 0;
  float kept = 1;
  Type type = Type::f32;
  void* mask = nullptr;  // [rows, columns]
};

// y = x · Wᵀ of few rows, with sums in float32, and W itself: weights of 8 or 4 bits in panels
// (nn/panel_layout.h).
inline constexpr int64_t kMostQuantisedRows = 8;
struct QuantisedProduct {
  int64_t rows = 0, in = 0, out = 0;  // rows ≤ kMostQuantisedRows
  int bits = 8;
  const uint8_t* panels = nullptr;
  const void* x = nullptr;  // [rows, in] in `type`
  Type type = Type::f32;
  void* y = nullptr;  // [rows, out]
};
struct QuantisedValues {
  int64_t in = 0, out = 0;
  int bits = 8;
  const uint8_t* panels = nullptr;
  Type type = Type::f32;
  void* values = nullptr;  // [out, in]
};

struct Kernels {
  const char* (*add_rms_norm)(const AddRmsNorm&, Stream);
  const char* (*add_rms_norm_backward)(const AddRmsNormBackward&, Stream);
  const char* (*rotate)(const Rotate&, Stream);
  const char* (*gate)(const Gate&, Stream);
  const char* (*gate_backward)(const GateBackward&, Stream);
  const char* (*cross_entropy)(const CrossEntropy&, Stream);
  const char* (*dropout_mask)(const DropoutMask&, Stream);
  const char* (*quantised_product)(const QuantisedProduct&, Stream);
  const char* (*quantised_values)(const QuantisedValues&, Stream);
};

// Those that are compiled for the device; only in builds with CUDA.
const Kernels& compiled_kernels();

}  // namespace continuo::cuda
