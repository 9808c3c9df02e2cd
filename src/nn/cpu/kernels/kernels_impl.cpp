// Compiled once per instruction set; CONTINUO_KERNEL_TABLE names the table that this copy defines.
#include <type_traits>
#include <utility>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/vec.h"

namespace continuo {
namespace {

// Calls body(i) for whole vectors and tail(i) for the elements that are left.
template <class Body, class Tail>
inline void for_lanes(int64_t n, Body body, Tail tail) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i);
  for (; i < n; ++i) tail(i);
}

template <int Count, class F>
void call_with(const F& f) {
  f(std::integral_constant<int, Count>());
}

// Calls f with `count`, one of 1 … Most, as a constant: so many rows' sums lie in registers.
template <int Most, class F>
inline void with_constant(int64_t count, const F& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) {
    static constexpr void (*kCalls[])(const F&) = {call_with<I + 1, F>...};
    kCalls[count - 1](f);
  }(std::make_integer_sequence<int, Most>());
}

}  // namespace
}  // namespace continuo

#include "nn/cpu/kernels/attention_impl.h"
#include "nn/cpu/kernels/cross_entropy_impl.h"
#include "nn/cpu/kernels/engine_rows_impl.h"
#include "nn/cpu/kernels/gemm_impl.h"
#include "nn/cpu/kernels/machine_impl.h"
#include "nn/cpu/kernels/packed_impl.h"
#include "nn/cpu/kernels/row_impl.h"

namespace continuo {
namespace {

inline float root(float x) { return __builtin_sqrtf(x); }

template <class T>
void add_rms_norm(const RmsNormRows<T>& norm) {
  auto [rows, hidden, residual, delta, weight, eps, sum_out, y, rstd] = norm;
  for (int64_t r = 0; r < rows; ++r, residual += hidden, y += hidden) {
    const float* x = residual;
    Vec squares{};
    float tail_squares = 0;
    if (delta) {
      for_lanes(
          hidden,
          [&](int64_t i) {
            const Vec v = load(residual + i) + load(delta + i);
            store(sum_out + i, v);
            squares += v * v;
          },
          [&](int64_t i) {
            const float v = residual[i] + to_float(delta[i]);
            sum_out[i] = v;
            tail_squares += v * v;
          });
      x = sum_out;
    } else {
      for_lanes(
          hidden,
          [&](int64_t i) {
            const Vec v = load(residual + i);
            squares += v * v;
          },
          [&](int64_t i) { tail_squares += residual[i] * residual[i]; });
    }
    const float scale =
        1.0f / root((sum(squares) + tail_squares) / static_cast<float>(hidden) + eps);
    rstd[r] = scale;
    for_lanes(
        hidden, [&](int64_t i) { store(y + i, load(x + i) * scale * load(weight + i)); },
        [&](int64_t i) { put(y + i, x[i] * scale * weight[i]); });
    if (delta) {
      delta += hidden;
      sum_out += hidden;
    }
  }
}

// y = x·s·w with s = (mean x² + eps)^-½ gives dx = s·(w·dy) − x·s³/hidden · Σ(w·dy·x).
template <class T>
void add_rms_norm_backward(const RmsNormRowsBackward<T>& norm) {
  auto [rows, hidden, dy, dsum, x, weight, rstd, dx, ddelta, dweight] = norm;
  for (int64_t r = 0; r < rows; ++r, dy += hidden, x += hidden, dx += hidden) {
    const float s = rstd[r];
    Vec dot{};
    float tail_dot = 0;
    for_lanes(
        hidden,
        [&](int64_t i) {
          const Vec g = load(dy + i), v = load(x + i);
          dot += g * load(weight + i) * v;
          store(dweight + i, load(dweight + i) + g * v * s);
        },
        [&](int64_t i) {
          const float g = to_float(dy[i]);
          tail_dot += g * weight[i] * x[i];
          dweight[i] += g * x[i] * s;
        });
    const float c = (sum(dot) + tail_dot) * s * s * s / static_cast<float>(hidden);
    for_lanes(
        hidden,
        [&](int64_t i) {
          Vec g = load(dy + i) * load(weight + i) * s - load(x + i) * c;
          if (dsum) g += load(dsum + i);
          store(dx + i, g);
          if (ddelta) store(ddelta + i, g);
        },
        [&](int64_t i) {
          float g = to_float(dy[i]) * weight[i] * s - x[i] * c;
          if (dsum) g += dsum[i];
          dx[i] = g;
          if (ddelta) put(ddelta + i, g);
        });
    if (dsum) dsum += hidden;
    if (ddelta) ddelta += hidden;
  }
}

template <class T>
void rope(const RopeRows<T>& given) {
  auto [rows, heads, dim, in, positions, cos, sin, sign, out] = given;
  const int64_t half = dim / 2;
  for (int64_t r = 0; r < rows; ++r) {
    const float* c = cos + positions[r] * half;
    const float* s = sin + positions[r] * half;
    for (int64_t h = 0; h < heads; ++h, in += dim, out += dim) {
      for_lanes(
          half,
          [&](int64_t i) {
            const Vec x1 = load(in + i), x2 = load(in + half + i);
            const Vec cv = load(c + i), sv = load(s + i) * sign;
            store(out + i, x1 * cv - x2 * sv);
            store(out + half + i, x2 * cv + x1 * sv);
          },
          [&](int64_t i) {
            const float x1 = to_float(in[i]), x2 = to_float(in[half + i]), sv = s[i] * sign;
            put(out + i, x1 * c[i] - x2 * sv);
            put(out + half + i, x2 * c[i] + x1 * sv);
          });
    }
  }
}

template <class T>
void swiglu(int64_t n, const T* gate, const T* up, T* out) {
  for_lanes(
      n,
      [&](int64_t i) {
        const Vec g = load(gate + i);
        store(out + i, g / (1.0f + exp(-g)) * load(up + i));
      },
      [&](int64_t i) {
        const float g = to_float(gate[i]);
        put(out + i, g / (1.0f + exp(-g)) * to_float(up[i]));
      });
}

// silu(g) = g·σ, silu'(g) = σ·(1 + g·(1 − σ)).
template <class T>
void swiglu_backward(int64_t n, const T* dout, const T* gate, const T* up, T* dgate, T* dup) {
  for_lanes(
      n,
      [&](int64_t i) {
        const Vec g = load(gate + i), d = load(dout + i);
        const Vec sigmoid = 1.0f / (1.0f + exp(-g));
        store(dgate + i, d * load(up + i) * sigmoid * (1.0f + g * (1.0f - sigmoid)));
        store(dup + i, d * g * sigmoid);
      },
      [&](int64_t i) {
        const float g = to_float(gate[i]), d = to_float(dout[i]);
        const float sigmoid = 1.0f / (1.0f + exp(-g));
        put(dgate + i, d * to_float(up[i]) * sigmoid * (1.0f + g * (1.0f - sigmoid)));
        put(dup + i, d * g * sigmoid);
      });
}

template <class T>
constexpr TypedKernels<T> table() {
  return {add_rms_norm<T>, add_rms_norm_backward<T>, rope<T>,
          swiglu<T>,       swiglu_backward<T>,       cross_entropy<T>};
}

}  // namespace

extern const Kernels CONTINUO_KERNEL_TABLE;
const Kernels CONTINUO_KERNEL_TABLE = {.instruction_set = CONTINUO_ISA_NAME,
                                       .f32 = table<float>(),
                                       .bf16 = table<uint16_t>(),
                                       .packed = kPackedKernels,
                                       .machine = kMachineKernels,
                                       .row = kRowKernels,
                                       .attention_f32 = attention_table<float>(),
                                       .attention_bf16 = attention_table<uint16_t>(),
                                       .gemm_f32 = gemm_table<float>(),
                                       .gemm_bf16 = gemm_table<uint16_t>(),
                                       .page_f32 = page_table<float>(),
                                       .page_bf16 = page_table<uint16_t>(),
                                       .page_q8 = page_table<int8_t>(),
                                       .engine = kEngineKernels};

}  // namespace continuo
