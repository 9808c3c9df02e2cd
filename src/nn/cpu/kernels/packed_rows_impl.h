// Products of rows with panels (packed.h): of few rows, and of any number of rows of integers. The
// sums of a group of rows lie in registers while a panel is read. Included by packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_dots_impl.h"

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

template <int M, BlockShape S>
void panel_stored(const PanelRun& r) {
  constexpr int kLines = static_cast<int>(block_bytes(S) / kLine);
  Sums<M> sums;
  const float* in = r.x.values + r.row * r.stride;
  for (int64_t b = 0; b < r.stride / kQuantBlock; ++b, in += kQuantBlock) {
    const StoredBlock block = stored_block(S, r.weights, b);
    r.prefetch(block.codes, kLines);
    decode_block<S>(block, [&](int k, Vec w0, Vec w1) __attribute__((always_inline)) {
      sums.add_float(w0, w1, in + k, r.stride);
    });
  }
  sums.store_to(r);
}

// Of N · 16 outputs of the panel, from number `first` on. A product of as many rows as have N = 1
// is bound by instructions and asks for memory once a block.
template <int M, BlockShape S, int N>
void panel_integers(const PanelRun& r, int64_t first = 0) {
  constexpr int kLines = static_cast<int>(block_bytes(S) / kLine),
                kCodeLines = static_cast<int>(code_bytes(S) / kLine);
  Vec sums[M][N];
  for_each_index<M>([&](auto m) { for_each_index<N>([&](auto n) { sums[m][n] = splat(0.0f); }); });
  for (int64_t b = 0; b < r.stride / kQuantBlock; ++b) {
    const IntegerRows x = {r.x, r.row, r.stride, b};
    const StoredBlock block = stored_block(S, r.weights, b);
    if (N == 1 && first == 0) r.prefetch(block.codes, kLines);
    BlockDots<S.bits> part[M][N];
    for_each_index<2>([&](auto half) __attribute__((always_inline)) {
      constexpr bool kOwn = S.group == kQuantGroup;  // sums and a scale
      if constexpr (half == 0 || kOwn) {
        for_each_index<M>([&](auto m) __attribute__((always_inline)) {
          const int32_t start =
              S.minima ? 0 : BlockDots<S.bits>::start(S.zero, kOwn ? x.sum(m, half) : x.sum(m));
          for_each_index<N>([&](auto n) { part[m][n] = BlockDots<S.bits>(start); });
        });
      }
      const auto prefetch = [&](const uint8_t* at, int lines) __attribute__((always_inline)) {
        if constexpr (N > 1) r.prefetch(at, lines);
      };
      if constexpr (S.bits == 4 && N > 1) {
        if constexpr (half == 0) add_nibbles(block, first, x, prefetch, part);
      } else {
        add_half<S, half(), M, N>(block, first, x, prefetch, part);
      }
      if constexpr (half == 1 || kOwn) {
        for_each_index<N>([&](auto n) __attribute__((always_inline)) {
          const Vec scale = stored_scales<S>(block, half, first + n * kLanes);
          for_each_index<M>([&](auto m) __attribute__((always_inline)) {
            sums[m][n] += convert<Vec>(part[m][n].total()) * (scale * x.scale(m));
          });
        });
      }
    });
    if constexpr (S.minima) {
      for_each_index<N>([&](auto n) __attribute__((always_inline)) {
        const Vec minimum = stored_minima<S>(block, first + n * kLanes);
        for_each_index<M>(
            [&](auto m) __attribute__((always_inline)) { sums[m][n] += minimum * x.total(m); });
      });
    }
    if constexpr (N > 1) r.prefetch(block.codes + code_bytes(S), kLines - kCodeLines);
  }
  for_each_index<M>([&](auto m) {
    for_each_index<N>(
        [&](auto n) { store(r.y + m * r.stride_y + first + n * kLanes, sums[m][n]); });
  });
}

// As many rows at once as the registers hold.
constexpr int kMostInteger = 4;
#if defined(__AVX512F__)
constexpr int kMostFloat = 8, kMostWhole = 4;
#else
constexpr int kMostFloat = 3, kMostWhole = 2;
#endif

// Few rows read all of a panel at once; more read one half of it, then the other.
void multiply_integers(PanelFormat format, int64_t rows, const PanelRun& run) {
  with_block_shape(format, [&](auto shape) {
    with_constant<kMostInteger>(rows, [&](auto m) {
      if constexpr (m() <= kMostWhole) {
        panel_integers<m(), shape(), 2>(run);
      } else {
        panel_integers<m(), shape(), 1>(run, 0);
        panel_integers<m(), shape(), 1>(run, kLanes);
      }
    });
  });
}

// rows ≤ kMostFloat
void multiply_floats(PanelFormat format, int64_t rows, const PanelRun& run) {
  using enum PanelFormat;
  if (holds_blocks(format)) {
    return with_block_shape(format, [&](auto shape) {
      with_constant<kMostFloat>(rows, [&](auto m) { panel_stored<m(), shape()>(run); });
    });
  }
  with_constant<kMostFloat>(rows, [&](auto m) {
    switch (format) {
      case bf16:
        return panel_bf16<m()>(run);
      case f32_in_28:
        return panel_f32_shorter<m(), f32_in_28>(run);
      case f32_in_12:
        return panel_f32_shorter<m(), f32_in_12>(run);
      case bf16_in_12:
        return panel_bf16_in_12<m()>(run);
      default:
        return panel_f32<m()>(run);
    }
  });
}

// How one group of few rows asks for its lines. Measured on Zen 4 with two threads, medians of 9
// runs in turn: 8 bits 216 tokens/s with lines 4 KiB ahead into the first cache, 217 without, 248
// as here; float32 83, 101 without; 4 bits and bfloat16 equal.
struct Reading {
  Fetch fetch;
  int64_t ahead;  // bytes
};
constexpr Reading reading(PanelFormat format, Activations reads) {
  if (reads == Activations::integers && block_shape(format).bits == 8)
    return {Fetch::into_second, 1536};
  if (holds_blocks(format) || reads == Activations::halves) return {Fetch::into_first, 4096};
  return {Fetch::nothing, 0};
}

// A panel is read from memory once and stays in the second cache for all groups of rows, which
// share the fetching of the next panel.
void product_by_rows(const PackedProduct& product, int64_t begin, int64_t end) {
  const auto& [format, reads, rows, in, x, data, y, stride_y] = product;
  const bool integers = reads == Activations::integers;
  const int64_t stride = packed_inputs(in), bytes = panel_bytes(format, in);
  const int64_t most = integers ? kMostInteger : kMostFloat, groups = (rows + most - 1) / most;
  const Reading one = reading(format, reads);
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
      const PanelRun run = {.x = x,
                            .row = m,
                            .stride = stride,
                            .weights = weights,
                            .table = panel,
                            .y = y + m * stride_y + p * kPanel,
                            .stride_y = stride_y,
                            .fetch = alone ? one.fetch : Fetch::next_panel,
                            .ahead = ahead,
                            .slower = slower};
      integers ? multiply_integers(format, count, run) : multiply_floats(format, count, run);
    }
  }
}

}  // namespace
}  // namespace continuo
