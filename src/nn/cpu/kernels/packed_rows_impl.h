// Products of rows with panels (packed.h): of few rows, and of any number with q8 and q4. The sums
// of a group of rows lie in registers while a panel is read. Included by packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_stored_impl.h"

namespace continuo {
namespace {

// What is asked for while a panel is read: nothing, where the hardware fetches fast enough by
// itself; the same stream further on, into the first or the second cache; or a share of the next
// panel.
enum class Fetch { nothing, into_first, into_second, next_panel };

// A product of a few rows with one panel.
struct PanelRun {
  const PackedInput& x;
  int64_t row, stride;       // the first row; values of a row
  const std::byte* weights;  // behind the table
  const std::byte* table;    // of a compressed panel
  float* y;
  int64_t stride_y;
  Fetch fetch;
  const std::byte* ahead;  // memory from here on, a share of the next panel at 2^-slower the pace
  int slower;

  // Beside the reading of so many lines at w. Inlined by order: to GCC 12 a call that only
  // prefetches does nothing.
  [[gnu::always_inline]] void prefetch(const void* w, int lines) const {
    const int64_t at = static_cast<const std::byte*>(w) - weights;
    if (fetch == Fetch::into_first) {
      for (int i = 0; i < lines; ++i) __builtin_prefetch(ahead + at + 64 * i);
    } else if (fetch == Fetch::into_second) {
      for (int i = 0; i < lines; ++i) __builtin_prefetch(ahead + at + 64 * i, 0, 2);
    } else if (fetch == Fetch::next_panel) {
      for (int i = 0; i <= (lines - 1) >> slower; ++i)
        __builtin_prefetch(ahead + (at >> slower) + 64 * i, 0, 2);
    }
  }
};

template <int M>
struct Sums {
  Vec at[M][2] = {};

  void store_to(const PanelRun& r) const {
    for (int m = 0; m < M; ++m) {
      store(r.y + m * r.stride_y, at[m][0]);
      store(r.y + m * r.stride_y + kLanes, at[m][1]);
    }
  }
  void add_float(Vec w0, Vec w1, const float* in, int64_t stride) {
    for (int m = 0; m < M; ++m) {
      const Vec v = splat(in[m * stride]);
      at[m][0] += w0 * v;
      at[m][1] += w1 * v;
    }
  }
  void add_pair(VecU w0, VecU w1, const uint16_t* in, int64_t stride) {
    for (int m = 0; m < M; ++m) {
      uint32_t pair;
      std::memcpy(&pair, in + m * stride, sizeof pair);
      at[m][0] = dot2(at[m][0], w0, pair);
      at[m][1] = dot2(at[m][1], w1, pair);
    }
  }
};

template <int M>
void panel_f32(const PanelRun& r) {
  Sums<M> sums;
  const auto* w = reinterpret_cast<const float*>(r.weights);
  const float* in = r.x.values + r.row * r.stride;
  for (int64_t k = 0; k < r.stride; ++k, w += kPanel) {
    r.prefetch(w, 2);
    sums.add_float(load(w), load(w + kLanes), in + k, r.stride);
  }
  sums.store_to(r);
}

template <int M>
void panel_bf16(const PanelRun& r) {
  Sums<M> sums;
  const auto* w = reinterpret_cast<const uint16_t*>(r.weights);
  const uint16_t* in = r.x.halves + r.row * r.stride;
  for (int64_t k = 0; k < r.stride; k += 2, w += 2 * kPanel) {
    r.prefetch(w, 2);
    sums.add_pair(load_as<VecU>(w), load_as<VecU>(w + 2 * kLanes), in + k, r.stride);
  }
  sums.store_to(r);
}

template <int M>
void panel_bf16_in_12(const PanelRun& r) {
  Sums<M> sums;
  const auto* w = reinterpret_cast<const uint8_t*>(r.weights);
  const VecB table = load_as<VecB>(r.table);
  const uint16_t* in = r.x.halves + r.row * r.stride;
  for (int64_t k = 0; k < r.stride; k += kUnit, w += unit_bytes(PanelFormat::bf16_in_12)) {
    r.prefetch(w, 3);
    unpack_pairs(w, table,
                 [&](int i, VecU w0, VecU w1) { sums.add_pair(w0, w1, in + k + 2 * i, r.stride); });
  }
  sums.store_to(r);
}

template <int M, PanelFormat Format>
void panel_f32_shorter(const PanelRun& r) {
  constexpr bool kWords = Format == PanelFormat::f32_in_28;
  Sums<M> sums;
  const auto* w = reinterpret_cast<const uint8_t*>(r.weights);
  const VecB table = load_as<VecB>(r.table);
  const float* in = r.x.values + r.row * r.stride;
  for (int64_t k = 0; k < r.stride; k += kUnit, w += unit_bytes(Format)) {
    r.prefetch(w, kWords ? 7 : 3);
    unpack_floats<kWords>(
        w, table, [&](int i, Vec w0, Vec w1) { sums.add_float(w0, w1, in + k + i, r.stride); });
  }
  sums.store_to(r);
}

template <int M, PanelFormat Format>
void panel_stored(const PanelRun& r) {
  constexpr int kLines = static_cast<int>(block_bytes(block_shape(Format)) / kLine);
  Sums<M> sums;
  const float* in = r.x.values + r.row * r.stride;
  for (int64_t b = 0; b < r.stride / kQuantBlock; ++b, in += kQuantBlock) {
    const StoredBlock block = stored_block(Format, r.weights, b);
    r.prefetch(block.codes, kLines);
    decode_block<Format>(block,
                         [&](int k, Vec w0, Vec w1) { sums.add_float(w0, w1, in + k, r.stride); });
  }
  sums.store_to(r);
}

// A block's scales, or minima, of all outputs of a panel.
struct BlockFactors {
  Vec at[2];
};
inline BlockFactors load_factors(const uint8_t* halves) {
  const auto* half = reinterpret_cast<const uint16_t*>(halves);
  return {{load_half(half), load_half(half + kLanes)}};
}

// Bits = 8 or 4. The offset that makes 8 bits unsigned is taken back through the sum of the
// activations, which also weighs the minima of 4 bits.
template <int M, int Bits>
void panel_quantised(const PanelRun& r) {
  constexpr int kGroups = 8;  // of four values of k
  constexpr int64_t kCodes = kQuantBlock * kPanel * Bits / 8;
  Sums<M> sums;
  const auto* w = reinterpret_cast<const uint8_t*>(r.weights);
  const int64_t blocks = r.stride / kQuantBlock;
  const int8_t* in = r.x.integers + r.row * r.stride;
  const float* scales = r.x.scales + r.row * blocks;
  const int32_t* offsets = r.x.offsets + r.row * blocks;
  for (int64_t b = 0; b < blocks; ++b, w += quantised_bytes(Bits)) {
    VecI part[M][2];
    for (int m = 0; m < M; ++m)
      part[m][0] = part[m][1] = VecI{} - (Bits == 8 ? 128 * offsets[m * blocks + b] : 0);
    const auto group = [&](int g, VecB w0, VecB w1) {
      for (int m = 0; m < M; ++m) {
        int32_t four;
        std::memcpy(&four, in + m * r.stride + b * kQuantBlock + 4 * g, sizeof four);
        part[m][0] = dot4<Bits>(part[m][0], w0, four);
        part[m][1] = dot4<Bits>(part[m][1], w1, four);
      }
    };
    for (int g = 0; g < kGroups * Bits / 8; ++g) {
      r.prefetch(w + 128 * g, 2);
      const VecB w0 = load_as<VecB>(w + 128 * g), w1 = load_as<VecB>(w + 128 * g + 64);
      if constexpr (Bits == 8) {
        group(g, w0, w1);
      } else {
        group(g, w0 & 15, w1 & 15);
        group(g + kGroups / 2, w0 >> 4, w1 >> 4);
      }
    }
    r.prefetch(w + kCodes, static_cast<int>(quantised_bytes(Bits) - kCodes) / 64);
    const BlockFactors scale = load_factors(w + kCodes);
    for (int m = 0; m < M; ++m) {
      const float s = scales[m * blocks + b];
      for (int n = 0; n < 2; ++n) sums.at[m][n] += convert<Vec>(part[m][n]) * (scale.at[n] * s);
    }
    if constexpr (Bits == 4) {
      const BlockFactors minimum = load_factors(w + kCodes + 2 * kPanel);
      for (int m = 0; m < M; ++m) {
        const int64_t at = m * blocks + b;
        const float sum = scales[at] * static_cast<float>(offsets[at]);
        for (int n = 0; n < 2; ++n) sums.at[m][n] += minimum.at[n] * sum;
      }
    }
  }
  sums.store_to(r);
}

// As many rows at once as the registers hold.
#if defined(__AVX512F__)
constexpr int kMostFloat = 8, kMostQuantised = 6;
#else
constexpr int kMostFloat = 3, kMostQuantised = 2;
#endif
constexpr int64_t most_rows(PanelFormat format) {
  return reads_integers(format) ? kMostQuantised : kMostFloat;
}

// rows ≤ most_rows(format)
void multiply_panel(PanelFormat format, int64_t rows, const PanelRun& run) {
  using enum PanelFormat;
  switch (format) {
    case f32:
      return with_constant<kMostFloat>(rows, [&](auto m) { panel_f32<m()>(run); });
    case bf16:
      return with_constant<kMostFloat>(rows, [&](auto m) { panel_bf16<m()>(run); });
    case q8:
      return with_constant<kMostQuantised>(rows, [&](auto m) { panel_quantised<m(), 8>(run); });
    case q4:
      return with_constant<kMostQuantised>(rows, [&](auto m) { panel_quantised<m(), 4>(run); });
    case f32_in_28:
      return with_constant<kMostFloat>(rows,
                                       [&](auto m) { panel_f32_shorter<m(), f32_in_28>(run); });
    case f32_in_12:
      return with_constant<kMostFloat>(rows,
                                       [&](auto m) { panel_f32_shorter<m(), f32_in_12>(run); });
    case bf16_in_12:
      return with_constant<kMostFloat>(rows, [&](auto m) { panel_bf16_in_12<m()>(run); });
    default:
      with_block_format(format, [&](auto blocks) {
        with_constant<kMostFloat>(rows, [&](auto m) { panel_stored<m(), blocks()>(run); });
      });
  }
}

// How one group of few rows asks for its lines. Measured on Zen 4 with two threads, medians of 9
// runs in turn: 8 bits 216 tokens/s with lines 4 KiB ahead into the first cache, 217 without, 248
// as here; float32 83, 101 without; 4 bits and bfloat16 equal.
struct Reading {
  Fetch fetch;
  int64_t ahead;  // bytes
};
constexpr Reading reading(PanelFormat format) {
  if (format == PanelFormat::q8) return {Fetch::into_second, 1536};
  if (holds_blocks(format)) return {Fetch::into_first, 4096};
  if (reads_halves(format) || format == PanelFormat::q4) return {Fetch::into_first, 4096};
  return {Fetch::nothing, 0};
}

// A panel is read from memory once and stays in the second cache for all groups of rows, which
// share the fetching of the next panel.
void product_by_rows(const PackedProduct& product, int64_t begin, int64_t end) {
  const auto& [format, rows, in, x, data, y, stride_y] = product;
  const int64_t stride = packed_inputs(in), bytes = panel_bytes(format, in);
  const int64_t most = most_rows(format), groups = (rows + most - 1) / most;
  const Reading one = reading(format);
  int slower = 0;
  while ((groups >> (slower + 1)) > 0) ++slower;
  for (int64_t p = begin; p < end; ++p) {
    const std::byte *panel = data + p * bytes, *weights = panel + panel_header(format);
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t m = rows * g / groups, count = rows * (g + 1) / groups - m;
      const bool alone = groups == 1;
      const std::byte* ahead =
          alone ? weights + one.ahead
                : weights + bytes + (g & ((1 << slower) - 1)) * (bytes >> slower);
      multiply_panel(format, count,
                     {.x = x,
                      .row = m,
                      .stride = stride,
                      .weights = weights,
                      .table = panel,
                      .y = y + m * stride_y + p * kPanel,
                      .stride_y = stride_y,
                      .fetch = alone ? one.fetch : Fetch::next_panel,
                      .ahead = ahead,
                      .slower = slower});
    }
  }
}

}  // namespace
}  // namespace continuo
