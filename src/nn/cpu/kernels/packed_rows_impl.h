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
    const auto add = [&](int k, Vec w0, Vec w1) __attribute__((always_inline)) {
      sums.add_float(w0, w1, in + k, r.stride);
    };
    if constexpr (kCrossed<Format>) {
      decode_block_crossed<Format>(block, add);
    } else {
      decode_block<Format>(block, add);
    }
  }
  if constexpr (kCrossed<Format>) {
    for (auto& at : sums.at) cross(at[0], at[1]);
  }
  sums.store_to(r);
}

template <int Bits>
constexpr int64_t kCodeBytes = kQuantBlock * kPanel * Bits / 8;  // of a block

// Adds a block's products, of the weights at `w` with the activations from `in` on, to those of
// M rows with N · 16 outputs of the panel from `first` · 16 on. A product of as many rows as have
// N = 1 is bound by instructions and asks for memory once a block.
template <int M, int Bits, int N>
[[gnu::always_inline]] inline void add_block(const PanelRun& r, int first, const uint8_t* w,
                                             const std::byte* in, BlockDots<Bits> (&part)[M][N]) {
  constexpr int kGroups = 8;  // of four values of k
  constexpr int64_t kBytes = BlockDots<Bits>::kBytes;
  constexpr int kLines = static_cast<int>(quantised_bytes(Bits) / kLine),
                kCodeLines = static_cast<int>(kCodeBytes<Bits> / kLine);
  const auto group = [&](int g, const VecB* weights) __attribute__((always_inline)) {
    for_rows<M>([&](auto m) {
      const std::byte* four = in + kBytes * (m * r.stride + 4 * g);
      for_rows<N>([&](auto n) { part[m][n].add(weights[n], four); });
    });
  };
  const auto read = [&](int g, int n) __attribute__((always_inline)) {
    return load_as<VecB>(w + 128 * g + 64 * (first + n));
  };
  if constexpr (N == 1) {
    if (first == 0) r.prefetch(w, kLines);
  }
  if constexpr (Bits == 4 && N == 1) {
    // One half of the codes after the other, as loops: registers do not hold both beside the sums,
    // nor what g++ 12 makes of all groups at once.
#pragma GCC unroll 1
    for (int g = 0; g < kGroups / 2; ++g) {
      const VecB lower = read(g, 0) & 15;
      group(g, &lower);
    }
#pragma GCC unroll 1
    for (int g = 0; g < kGroups / 2; ++g) {
      const VecB upper = read(g, 0) >> 4;
      group(g + kGroups / 2, &upper);
    }
    return;
  }
  for (int g = 0; g < kGroups * Bits / 8; ++g) {
    if (N > 1) r.prefetch(w + 128 * g, 2);
    VecB codes[N], upper[N];
    for (int n = 0; n < N; ++n) codes[n] = read(g, n);
    if constexpr (Bits == 8) {
      group(g, codes);
    } else {
      for (int n = 0; n < N; ++n) {
        upper[n] = codes[n] >> 4;
        codes[n] = codes[n] & 15;
      }
      group(g, codes);
      group(g + kGroups / 2, upper);
    }
  }
  if (N > 1) r.prefetch(w + kCodeBytes<Bits>, kLines - kCodeLines);
}

// Bits = 8 or 4; of N · 16 outputs of the panel from `first` · 16 on.
template <int M, int Bits, int N>
void panel_quantised(const PanelRun& r, int first = 0) {
  Vec sums[M][N];
  for_rows<M>([&](auto m) { for_rows<N>([&](auto n) { sums[m][n] = splat(0.0f); }); });
  const auto* w = reinterpret_cast<const uint8_t*>(r.weights);
  const int64_t blocks = r.stride / kQuantBlock;
  constexpr int64_t kBytes = BlockDots<Bits>::kBytes;
  const std::byte* in = r.x.integers + kBytes * r.row * r.stride;
  const float* scales = r.x.scales + r.row * blocks;
  const int32_t* offsets = r.x.offsets + r.row * blocks;
  for (int64_t b = 0; b < blocks; ++b, w += quantised_bytes(Bits), in += kBytes * kQuantBlock) {
    BlockDots<Bits> part[M][N];
    for_rows<M>([&](auto m) {
      const int32_t start = Bits == 8 ? offsets[m * blocks + b] : 0;
      for_rows<N>([&](auto n) { part[m][n] = BlockDots<Bits>(start); });
    });
    add_block<M, Bits, N>(r, first, w, in, part);
    const auto* factors = reinterpret_cast<const uint16_t*>(w + kCodeBytes<Bits>) + first * kLanes;
    for_rows<N>([&](auto n) {
      const Vec scale = load_half(factors + n * kLanes);
      for_rows<M>([&](auto m) {
        sums[m][n] += convert<Vec>(part[m][n].total()) * (scale * scales[m * blocks + b]);
      });
      if constexpr (Bits == 4) {
        const Vec minimum = load_half(factors + kPanel + n * kLanes);
        for_rows<M>([&](auto m) {
          const int64_t at = m * blocks + b;
          sums[m][n] += minimum * (scales[at] * static_cast<float>(offsets[at]));
        });
      }
    });
  }
  for_rows<M>([&](auto m) {
    for_rows<N>([&](auto n) { store(r.y + m * r.stride_y + (first + n) * kLanes, sums[m][n]); });
  });
}

// As many rows at once as the registers hold.
#if defined(__AVX512F__)
constexpr int kMostFloat = 8, kMostQuantised = 6, kMostWhole = 6;
#else
constexpr int kMostFloat = 3, kMostQuantised = 4, kMostWhole = 2;
#endif
constexpr int64_t most_rows(PanelFormat format) {
  return reads_integers(format) ? kMostQuantised : kMostFloat;
}

// Few rows read all of a panel at once; more read one half of it, then the other.
template <int Bits>
void multiply_quantised(int64_t rows, const PanelRun& run) {
  with_constant<kMostQuantised>(rows, [&](auto m) {
    if constexpr (m() <= kMostWhole) {
      panel_quantised<m(), Bits, 2>(run);
    } else {
      panel_quantised<m(), Bits, 1>(run, 0);
      panel_quantised<m(), Bits, 1>(run, 1);
    }
  });
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
      return multiply_quantised<8>(rows, run);
    case q4:
      return multiply_quantised<4>(rows, run);
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
