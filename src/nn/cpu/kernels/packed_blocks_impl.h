// Products of many rows with panels of floats or bfloat16 (packed.h). A block of a panel is
// unpacked once, into memory that stays in the first cache, and multiplied from there: the same
// sums in the same order, begun and put aside in float32. Included by packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_stored_impl.h"

namespace continuo {
namespace {

// Values of k in a block, 16 KiB of a panel.
template <class E>
constexpr int64_t kBlockInputs = 512 / sizeof(E);
constexpr int64_t kLine = 64;
// As many rows at once as the registers hold, and how many rows are many: more than are multiplied
// as a panel is read.
#if defined(__AVX512F__)
constexpr int kBlockRows = 12;
constexpr int64_t kManyRows = 9;
#else
constexpr int kBlockRows = 3;
constexpr int64_t kManyRows = 5;
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
  if constexpr (sizeof(E) == sizeof(float)) {
    if (holds_blocks(format)) {
      decode_blocks(format, panel, first, count, room);
      return room;
    }
  }
  const bool as_stored =
      activations_of(format) == Activations::halves ? sizeof(E) == sizeof(uint16_t) : true;
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
  // What is asked for meanwhile, so many bytes with every step of k: at once they would fill the
  // buffers of missing lines, and the products would wait.
  const std::byte* ahead;
  int64_t pace;  // ≤ two lines

  [[gnu::always_inline]] void prefetch(int64_t step) const {
    __builtin_prefetch(ahead + step * pace, 0, 2);
    __builtin_prefetch(ahead + step * pace + kLine, 0, 2);
  }
};

template <int M, bool First, class E>
inline void multiply_block_of(const BlockRun<E>& r) {
  Vec sums[M][2];
  for_each_index<M>([&](auto m) {
    sums[m][0] = First ? splat(0.0f) : load(r.y + m * r.stride_y);
    sums[m][1] = First ? splat(0.0f) : load(r.y + m * r.stride_y + kLanes);
  });
  const E *w = r.weights, *x = r.x;
  if constexpr (sizeof(E) == sizeof(float)) {
    for (int64_t k = 0; k < r.inputs; ++k, w += kPanel) {
      r.prefetch(k);
      const Vec w0 = load(w), w1 = load(w + kLanes);
      for_each_index<M>([&](auto m) {
        const Vec v = splat(x[m * r.stride_x + k]);
        sums[m][0] += w0 * v;
        sums[m][1] += w1 * v;
      });
    }
  } else {
    for (int64_t k = 0; k < r.inputs; k += 2, w += 2 * kPanel) {
      r.prefetch(k / 2);
      const VecU w0 = load_as<VecU>(w), w1 = load_as<VecU>(w + 2 * kLanes);
      for_each_index<M>([&](auto m) {
        const auto pair = load_as<uint32_t>(x + m * r.stride_x + k);
        sums[m][0] = dot2(sums[m][0], w0, pair);
        sums[m][1] = dot2(sums[m][1], w1, pair);
      });
    }
  }
  for_each_index<M>([&](auto m) {
    store(r.y + m * r.stride_y, sums[m][0]);
    store(r.y + m * r.stride_y + kLanes, sums[m][1]);
  });
}

template <int M, class E>
void multiply_block(const BlockRun<E>& r) {
  r.first ? multiply_block_of<M, true>(r) : multiply_block_of<M, false>(r);
}

// Rows [row, row + rows) of the activations, their values [first, first + inputs) of k.
struct BlockPlace {
  int64_t row, rows, first, inputs;
};

// A block's activations as E: where they lie, or of halves as floats in `room`.
template <class E>
struct BlockRows {
  const E* at;
  int64_t stride;
};
template <class E>
BlockRows<E> block_rows(const PackedProduct& product, const BlockPlace& block, E* room) {
  const auto [row, rows, first, inputs] = block;
  const PackedInput& x = product.x;
  const int64_t stride = packed_inputs(product.in);
  if constexpr (sizeof(E) == sizeof(uint16_t)) {
    return {x.halves + row * stride + first, stride};
  } else {
    if (product.reads != Activations::halves) return {x.values + row * stride + first, stride};
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < inputs; i += kLanes)
        store(room + r * kBlockInputs<E> + i, load(x.halves + (row + r) * stride + first + i));
    }
    return {room, kBlockInputs<E>};
  }
}

template <class E>
void product_by_blocks(const PackedProduct& product, int64_t begin, int64_t end) {
  const auto& [format, reads, rows, in, x, data, y, stride_y] = product;
  const int64_t stride = packed_inputs(in), bytes = panel_bytes(format, in),
                header = panel_header(format);
  // While one block is multiplied, the next one comes from memory: a share with every group of
  // rows.
  const int64_t groups = (rows + kBlockRows - 1) / kBlockRows;
  alignas(64) E weights_room[kBlockInputs<E> * kPanel];
  alignas(64) E rows_room[kBlockRows * kBlockInputs<E>];
  for (int64_t p = begin; p < end; ++p) {
    const std::byte* panel = data + p * bytes;
    for (int64_t k = 0; k < stride; k += kBlockInputs<E>) {
      const int64_t inputs = smaller(kBlockInputs<E>, stride - k);
      const E* weights = block_weights<E>(format, panel, k, inputs, weights_room);
      const int64_t steps = inputs / kDepth<E>,
                    pace = (bytes - header) * kBlockInputs<E> / stride / groups / steps + 1;
      const std::byte* next = panel + header + (k + inputs) * (bytes - header) / stride;
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t m = g * kBlockRows, count = rows - m < kBlockRows ? rows - m : kBlockRows;
        const auto [at, step] = block_rows<E>(product, {m, count, k, inputs}, rows_room);
        const BlockRun<E> run = {.x = at,
                                 .weights = weights,
                                 .stride_x = step,
                                 .inputs = inputs,
                                 .first = k == 0,
                                 .y = y + m * stride_y + p * kPanel,
                                 .stride_y = stride_y,
                                 .ahead = next + g * steps * pace,
                                 .pace = pace};
        with_constant<kBlockRows>(count, [&](auto constant) { multiply_block<constant()>(run); });
      }
    }
  }
}

}  // namespace
}  // namespace continuo
