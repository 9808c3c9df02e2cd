// Products of rows with panels (packed.h). Included by packed_impl.h only.
#pragma once

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

// Bytes of a block of 32 values of k: q8, q4.
constexpr int64_t block_bytes(int bits) { return kQuantBlock * kPanel * bits / 8 + 2 * kPanel; }

// Bits = 8 or 4. The offset that makes weights unsigned is taken back through the sum of the
// activations.
template <int M, int Bits>
void panel_quantised(const PanelRun& r) {
  constexpr int kGroups = 8;  // of four values of k
  constexpr int kOffset = Bits == 8 ? 128 : 8;
  Sums<M> sums;
  const auto* w = reinterpret_cast<const uint8_t*>(r.weights);
  const int64_t blocks = r.stride / kQuantBlock;
  const int8_t* in = r.x.integers + r.row * r.stride;
  const float* scales = r.x.scales + r.row * blocks;
  const int32_t* offsets = r.x.offsets + r.row * blocks;
  for (int64_t b = 0; b < blocks; ++b, w += block_bytes(Bits)) {
    VecI part[M][2];
    for (int m = 0; m < M; ++m)
      part[m][0] = part[m][1] = VecI{} - kOffset * offsets[m * blocks + b];
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
    const auto* half = reinterpret_cast<const uint16_t*>(w + block_bytes(Bits) - 2 * kPanel);
    r.prefetch(half, 1);
    const Vec s0 = load_half(half), s1 = load_half(half + kLanes);
    for (int m = 0; m < M; ++m) {
      const float s = scales[m * blocks + b];
      sums.at[m][0] += convert<Vec>(part[m][0]) * (s0 * s);
      sums.at[m][1] += convert<Vec>(part[m][1]) * (s1 * s);
    }
  }
  sums.store_to(r);
}

// For 1, 2, … rows at once: as many as the registers hold.
#if defined(__AVX512F__)
constexpr int kMostFloat = 8, kMostQuantised = 6;
#else
constexpr int kMostFloat = 3, kMostQuantised = 2;
#endif
using PanelFunction = void (*)(const PanelRun&);
struct PanelFunctions {
  int64_t most;
  PanelFunction of[8];
};
constexpr PanelFunctions kF32 = {kMostFloat,
                                 {panel_f32<1>, panel_f32<2>, panel_f32<3>, panel_f32<4>,
                                  panel_f32<5>, panel_f32<6>, panel_f32<7>, panel_f32<8>}};
constexpr PanelFunctions kBf16 = {kMostFloat,
                                  {panel_bf16<1>, panel_bf16<2>, panel_bf16<3>, panel_bf16<4>,
                                   panel_bf16<5>, panel_bf16<6>, panel_bf16<7>, panel_bf16<8>}};
constexpr PanelFunctions kBf16In12 = {
    kMostFloat,
    {panel_bf16_in_12<1>, panel_bf16_in_12<2>, panel_bf16_in_12<3>, panel_bf16_in_12<4>,
     panel_bf16_in_12<5>, panel_bf16_in_12<6>, panel_bf16_in_12<7>, panel_bf16_in_12<8>}};
template <PanelFormat F>
constexpr PanelFunctions kShorter = {
    kMostFloat,
    {panel_f32_shorter<1, F>, panel_f32_shorter<2, F>, panel_f32_shorter<3, F>,
     panel_f32_shorter<4, F>, panel_f32_shorter<5, F>, panel_f32_shorter<6, F>,
     panel_f32_shorter<7, F>, panel_f32_shorter<8, F>}};
template <int Bits>
constexpr PanelFunctions kQuantised = {
    kMostQuantised,
    {panel_quantised<1, Bits>, panel_quantised<2, Bits>, panel_quantised<3, Bits>,
     panel_quantised<4, Bits>, panel_quantised<5, Bits>, panel_quantised<6, Bits>}};

const PanelFunctions& panel_functions(PanelFormat format) {
  switch (format) {
    case PanelFormat::bf16:
      return kBf16;
    case PanelFormat::q8:
      return kQuantised<8>;
    case PanelFormat::q4:
      return kQuantised<4>;
    case PanelFormat::f32_in_28:
      return kShorter<PanelFormat::f32_in_28>;
    case PanelFormat::f32_in_12:
      return kShorter<PanelFormat::f32_in_12>;
    case PanelFormat::bf16_in_12:
      return kBf16In12;
    default:
      return kF32;
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
  if (reads_halves(format) || format == PanelFormat::q4) return {Fetch::into_first, 4096};
  return {Fetch::nothing, 0};
}

// Of many rows a block of a panel is unpacked once, into memory that stays in the first cache, and
// multiplied from there: the same sums in the same order, begun and put aside in float32.
constexpr int64_t kBlockInputs = 128;
constexpr int64_t kManyRows = 9;
constexpr int64_t kLine = 64;
#if defined(__AVX512F__)
constexpr int kBlockRows = 12;
#else
constexpr int kBlockRows = 3;
#endif
// Weights in bfloat16 become floats where no instruction multiplies pairs of them: there the sums
// of pairs are those of floats.
#if defined(__AVX2__) && !defined(__AVX512BF16__)
using BlockHalf = float;
#else
using BlockHalf = uint16_t;
#endif

// The values [first, first + count) of k of a panel: floats [count][kPanel], or pairs of bfloat16
// [count / 2][kPanel][2]; where they lie, or in `room`.
template <class E>
const E* block_weights(PanelFormat format, const std::byte* panel, int64_t first, int64_t count,
                       E* room) {
  const std::byte* weights = panel + panel_header(format);
  const auto put_floats = [&](int64_t k, Vec w0, Vec w1) {
    if constexpr (sizeof(E) == sizeof(float)) {
      store(room + k * kPanel, w0);
      store(room + k * kPanel + kLanes, w1);
    }
  };
  const auto put_pair = [&](int64_t k, VecU w0, VecU w1) {
    if constexpr (sizeof(E) == sizeof(float)) {
      put_floats(k, bits_as<Vec>(w0 << 16), bits_as<Vec>(w1 << 16));
      put_floats(k + 1, bits_as<Vec>(w0 & 0xffff0000u), bits_as<Vec>(w1 & 0xffff0000u));
    } else {
      store_as(room + k * kPanel, w0);
      store_as(room + k * kPanel + 2 * kLanes, w1);
    }
  };
  const bool as_stored = reads_halves(format) ? sizeof(E) == sizeof(uint16_t) : true;
  if (as_stored && (format == PanelFormat::f32 || format == PanelFormat::bf16))
    return reinterpret_cast<const E*>(weights) + first * kPanel;
  if (format == PanelFormat::bf16) {
    const auto* w = reinterpret_cast<const uint16_t*>(weights) + first * kPanel;
    for (int64_t k = 0; k < count; k += 2, w += 2 * kPanel)
      put_pair(k, load_as<VecU>(w), load_as<VecU>(w + 2 * kLanes));
    return room;
  }
  const VecB table = load_as<VecB>(panel);
  const auto* w = reinterpret_cast<const uint8_t*>(weights) + first / kUnit * unit_bytes(format);
  for (int64_t k = 0; k < count; k += kUnit, w += unit_bytes(format)) {
    const auto floats = [&](int i, Vec w0, Vec w1) { put_floats(k + i, w0, w1); };
    if (format == PanelFormat::bf16_in_12) {
      unpack_pairs(w, table, [&](int i, VecU w0, VecU w1) { put_pair(k + 2 * i, w0, w1); });
    } else if (format == PanelFormat::f32_in_28) {
      unpack_floats<true>(w, table, floats);
    } else {
      unpack_floats<false>(w, table, floats);
    }
  }
  return room;
}

template <class E>
struct BlockRun {
  const E *x, *weights;
  int64_t stride_x, inputs;
  bool first;  // of the panel's blocks
  float* y;
  int64_t stride_y;
};

template <int M, bool First, class E>
inline void multiply_block_of(const BlockRun<E>& r) {
  Vec sums[M][2];
  for (int m = 0; m < M; ++m) {
    sums[m][0] = First ? splat(0.0f) : load(r.y + m * r.stride_y);
    sums[m][1] = First ? splat(0.0f) : load(r.y + m * r.stride_y + kLanes);
  }
  const E *w = r.weights, *x = r.x;
  if constexpr (sizeof(E) == sizeof(float)) {
    for (int64_t k = 0; k < r.inputs; ++k, w += kPanel) {
      const Vec w0 = load(w), w1 = load(w + kLanes);
      for (int m = 0; m < M; ++m) {
        const Vec v = splat(x[m * r.stride_x + k]);
        sums[m][0] += w0 * v;
        sums[m][1] += w1 * v;
      }
    }
  } else {
    for (int64_t k = 0; k < r.inputs; k += 2, w += 2 * kPanel) {
      const VecU w0 = load_as<VecU>(w), w1 = load_as<VecU>(w + 2 * kLanes);
      for (int m = 0; m < M; ++m) {
        uint32_t pair;
        std::memcpy(&pair, x + m * r.stride_x + k, sizeof pair);
        sums[m][0] = dot2(sums[m][0], w0, pair);
        sums[m][1] = dot2(sums[m][1], w1, pair);
      }
    }
  }
  for (int m = 0; m < M; ++m) {
    store(r.y + m * r.stride_y, sums[m][0]);
    store(r.y + m * r.stride_y + kLanes, sums[m][1]);
  }
}

template <int M, class E>
void multiply_block(const BlockRun<E>& r) {
  r.first ? multiply_block_of<M, true>(r) : multiply_block_of<M, false>(r);
}

template <class E, int... M>
void multiply_some(std::integer_sequence<int, M...>, int64_t count, const BlockRun<E>& run) {
  static constexpr void (*kOf[])(const BlockRun<E>&) = {multiply_block<M + 1, E>...};
  kOf[count - 1](run);
}

// The rows' inputs as E: where they lie, or of halves as floats in `room`.
template <class E>
struct BlockRows {
  const E* at;
  int64_t stride;
};
template <class E>
BlockRows<E> block_rows(PanelFormat format, const PackedInput& x, int64_t row, int64_t count,
                        int64_t stride, int64_t k, int64_t inputs, E* room) {
  if constexpr (sizeof(E) == sizeof(uint16_t)) {
    return {x.halves + row * stride + k, stride};
  } else {
    if (!reads_halves(format)) return {x.values + row * stride + k, stride};
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t i = 0; i < inputs; i += kLanes)
        store(room + r * kBlockInputs + i, load(x.halves + (row + r) * stride + k + i));
    }
    return {room, kBlockInputs};
  }
}

template <class E>
void product_by_blocks(PanelFormat format, int64_t rows, int64_t in, int64_t begin, int64_t end,
                       const PackedInput& x, const std::byte* data, float* y, int64_t stride_y) {
  const int64_t stride = packed_inputs(in), bytes = panel_bytes(format, in),
                header = panel_header(format);
  // While one block is multiplied, the next one comes from memory: a share with every group of
  // rows.
  const int64_t block_lines = (bytes - header) * kBlockInputs / stride / kLine + 1,
                groups = (rows + kBlockRows - 1) / kBlockRows;
  alignas(64) E weights_room[kBlockInputs * kPanel];
  alignas(64) E rows_room[kBlockRows * kBlockInputs];
  for (int64_t p = begin; p < end; ++p) {
    const std::byte* panel = data + p * bytes;
    for (int64_t k = 0; k < stride; k += kBlockInputs) {
      const int64_t inputs = stride - k < kBlockInputs ? stride - k : kBlockInputs;
      const E* weights = block_weights<E>(format, panel, k, inputs, weights_room);
      const std::byte* next = panel + header + (k + inputs) * (bytes - header) / stride;
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t m = g * kBlockRows, count = rows - m < kBlockRows ? rows - m : kBlockRows;
        for (int64_t i = block_lines * g / groups; i < block_lines * (g + 1) / groups; ++i)
          __builtin_prefetch(next + kLine * i, 0, 2);
        const auto [at, step] = block_rows<E>(format, x, m, count, stride, k, inputs, rows_room);
        multiply_some(std::make_integer_sequence<int, kBlockRows>(), count,
                      BlockRun<E>{.x = at,
                                  .weights = weights,
                                  .stride_x = step,
                                  .inputs = inputs,
                                  .first = k == 0,
                                  .y = y + m * stride_y + p * kPanel,
                                  .stride_y = stride_y});
      }
    }
  }
}

// A panel is read from memory once and stays in the second cache for all groups of rows, which
// share the fetching of the next panel.
void packed_product(PanelFormat format, int64_t rows, int64_t in, int64_t begin, int64_t end,
                    const PackedInput& x, const std::byte* data, float* y, int64_t stride_y) {
  const int64_t stride = packed_inputs(in), bytes = panel_bytes(format, in);
  const PanelFunctions& functions = panel_functions(format);
  if (rows >= kManyRows && !reads_integers(format)) {
    const auto by_blocks =
        reads_halves(format) ? product_by_blocks<BlockHalf> : product_by_blocks<float>;
    return by_blocks(format, rows, in, begin, end, x, data, y, stride_y);
  }
  const Reading one = reading(format);
  const int64_t groups = (rows + functions.most - 1) / functions.most;
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
      functions.of[count - 1]({x, m, stride, weights, panel, y + m * stride_y + p * kPanel,
                               stride_y, alone ? one.fetch : Fetch::next_panel, ahead, slower});
    }
  }
}

}  // namespace
}  // namespace continuo
