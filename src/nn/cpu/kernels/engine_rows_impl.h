// The engine's passes over rows (page.h). Included by kernels_impl.cpp only, once per instruction
// set.
#pragma once

#include "nn/cpu/kernels/page_impl.h"

namespace continuo {
namespace {

// The error function by a quotient of polynomials in x² (a minimax fit on [−4, 4], outside of which
// it is ±1 in float32; absolute error below 3e-7, tested).
inline Vec erf(Vec x) {
  const Vec v = max(min(x, splat(4.0f)), splat(-4.0f)), s = v * v;
  Vec p = splat(-2.72614225801306e-10f) * s + 2.77068142495902e-08f;
  p = p * s - 2.10102402082508e-06f;
  p = p * s - 5.69250639462346e-05f;
  p = p * s - 7.34990630326855e-04f;
  p = p * s - 2.95459980854025e-03f;
  p = p * s - 1.60960333262415e-02f;
  Vec q = splat(-1.45660718464996e-05f) * s - 2.13374055278905e-04f;
  q = q * s - 1.68282697438203e-03f;
  q = q * s - 7.37332916720468e-03f;
  q = q * s - 1.42647390514189e-02f;
  return v * p / q;
}

inline Vec activated(Activation activation, Vec x) {
  switch (activation) {
    case Activation::silu:
      return x / (1.0f + exp(-x));
    case Activation::gelu:
      return x * 0.5f * (erf(x * 0.70710678118654752f) + 1.0f);
    case Activation::gelu_tanh: {
      // x/2 · (1 + tanh(u)) = x / (1 + e^−2u)
      const Vec u = (x * x * x * 0.044715f + x) * 0.79788456080286536f;
      return x / (1.0f + exp(u * -2.0f));
    }
    case Activation::relu:
      break;
  }
  return max(x, Vec{});
}

template <Activation kActivation>
void gate_of(int64_t n, const float* gate, const float* up, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec y = activated(kActivation, load(gate + i));
    store(out + i, up ? y * load(up + i) : y);
  }
  if (i == n) return;
  float rest[kLanes] = {};
  for (int64_t k = i; k < n; ++k) rest[k - i] = gate[k];
  const Vec y = activated(kActivation, load(rest));
  store(rest, y);
  for (int64_t k = i; k < n; ++k) out[k] = up ? rest[k - i] * up[k] : rest[k - i];
}

void gate_row(Activation activation, int64_t n, const float* gate, const float* up, float* out) {
  switch (activation) {
    case Activation::silu:
      return gate_of<Activation::silu>(n, gate, up, out);
    case Activation::gelu:
      return gate_of<Activation::gelu>(n, gate, up, out);
    case Activation::gelu_tanh:
      return gate_of<Activation::gelu_tanh>(n, gate, up, out);
    case Activation::relu:
      return gate_of<Activation::relu>(n, gate, up, out);
  }
}

void layer_norm_row(int64_t n, const float* x, const float* weight, const float* bias, float eps,
                    float* y) {
  Vec sums{};
  float tail = 0;
  for_lanes(n, [&](int64_t i) { sums += load(x + i); }, [&](int64_t i) { tail += x[i]; });
  const auto count = static_cast<float>(n);
  const float mean = (sum(sums) + tail) / count;
  Vec squares{};
  tail = 0;
  for_lanes(
      n,
      [&](int64_t i) {
        const Vec v = load(x + i) - mean;
        squares += v * v;
      },
      [&](int64_t i) { tail += (x[i] - mean) * (x[i] - mean); });
  const float scale = 1.0f / __builtin_sqrtf((sum(squares) + tail) / count + eps);
  for_lanes(
      n,
      [&](int64_t i) {
        store(y + i, (load(x + i) - mean) * scale * load(weight + i) + load(bias + i));
      },
      [&](int64_t i) { y[i] = (x[i] - mean) * scale * weight[i] + bias[i]; });
}

void cap_row(int64_t n, float cap, float* x) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(x + i, capped(load(x + i), cap));
  if (i == n) return;
  float rest[kLanes] = {};
  for (int64_t k = i; k < n; ++k) rest[k - i] = x[k];
  store(rest, capped(load(rest), cap));
  for (int64_t k = i; k < n; ++k) x[k] = rest[k - i];
}

constexpr EngineKernels kEngineKernels = {merge_part, gate_row, layer_norm_row, cap_row};

}  // namespace
}  // namespace continuo
