// Packing and unpacking of plain panels (packed.h). Included by packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_stored_impl.h"
#include "nn/cpu/kernels/tile_impl.h"

namespace continuo {
namespace {

// A block of 32 values of k of the outputs of a panel, side by side for each value.
struct WeightBlock {
  alignas(64) float at[kQuantBlock][kPanel];

  Vec row(int64_t k, int64_t n) const { return load(&at[k][n * kLanes]); }
};

// Values beyond `in` and of outputs without a row are zero.
WeightBlock gather_block(int64_t in, const float* const* rows, int64_t first) {
  WeightBlock block;
  const int64_t count = in - first < kQuantBlock ? in - first : kQuantBlock;
  for (int64_t r = 0; r < kPanel; r += kLanes) {
    for (int64_t k = 0; k < kQuantBlock; k += kLanes) {
      VecU tile[kLanes];
      for (int64_t i = 0; i < kLanes; ++i) {
        float values[kLanes] = {};
        const int64_t there = count - k < kLanes ? count - k : kLanes;
        if (rows[r + i] && there > 0)
          std::memcpy(values, rows[r + i] + first + k, there * sizeof(float));
        tile[i] = load_as<VecU>(values);
      }
      transpose(tile);
      for (int64_t i = 0; i < kLanes; ++i) store_as(&block.at[k + i][r], tile[i]);
    }
  }
  return block;
}

// Rounds to whole numbers within ±2^21 by adding 1.5 · 2^23, then bounds them.
inline Vec whole(Vec x, float least, float most) {
  return min(max((x + 12582912.0f) - 12582912.0f, splat(least)), splat(most));
}

// The scales of a block's outputs 16 · n and up. 8 bits: the largest reaches ±127. 4 bits: the best
// of a few, by the squared error that is left, weighted by the squares of the weights: large ones
// carry more of the result.
template <int Bits>
Vec block_scales(const WeightBlock& block, int64_t n) {
  Vec extreme{};
  for (int64_t k = 0; k < kQuantBlock; ++k) {
    const Vec x = block.row(k, n);
    extreme = select(max(x, -x) > max(extreme, -extreme), x, extreme);
  }
  if constexpr (Bits == 8) return max(extreme, -extreme) / 127.0f;
  const auto any = extreme != splat(0.0f);
  Vec best{}, best_gain = splat(-1.0f);
  for (int step = -6; step <= 6; ++step) {
    const Vec inverse =
        splat(-8.0f + 0.25f * static_cast<float>(step)) / select(any, extreme, splat(1.0f));
    Vec weighted{}, squares{};
    for (int64_t k = 0; k < kQuantBlock; ++k) {
      const Vec x = block.row(k, n), xq = x * whole(x * inverse, -8.0f, 7.0f);
      weighted += x * x * xq;
      squares += xq * xq;
    }
    const auto better = weighted * weighted > best_gain * squares;
    best_gain = select(better, weighted * weighted / max(squares, splat(1e-38f)), best_gain);
    best = select(better, weighted / max(squares, splat(1e-38f)), best);
  }
  return select(any, best, Vec{});
}

template <int Bits>
void pack_quantised(int64_t in, const float* const* rows, std::byte* panel) {
  constexpr int kOffset = Bits == 8 ? 128 : 8,
                kGroups = Bits;  // of four values of k in a byte each
  constexpr float kLeast = Bits == 8 ? -127.0f : -8.0f, kMost = Bits == 8 ? 127.0f : 7.0f;
  constexpr int64_t kWeights = kQuantBlock * kPanel * Bits / 8;
  auto* out = reinterpret_cast<uint8_t*>(panel);
  for (int64_t b = 0; b < packed_inputs(in) / kQuantBlock; ++b, out += kWeights + 2 * kPanel) {
    const WeightBlock block = gather_block(in, rows, b * kQuantBlock);
    for (int64_t n = 0; n < 2; ++n) {
      float scales[kLanes], inverses[kLanes];
      store(scales, block_scales<Bits>(block, n));
      for (int64_t r = 0; r < kLanes; ++r) {
        const uint16_t half = to_half(scales[r]);
        std::memcpy(out + kWeights + 2 * (n * kLanes + r), &half, sizeof half);
        const float scale = from_half(half);
        inverses[r] = scale == 0.0f ? 0.0f : 1.0f / scale;
      }
      const Vec inverse = load(inverses);
      const auto code = [&](int64_t k) {
        const Vec q = whole(block.row(k, n) * inverse, kLeast, kMost);
        return bits_as<VecU>(convert<VecI>(q) + kOffset);
      };
      for (int64_t g = 0; g < kGroups; ++g) {
        VecU word{};
        for (int t = 0; t < 4; ++t) {
          VecU byte = code(4 * g + t);
          if constexpr (Bits == 4) byte = byte | code(16 + 4 * g + t) << 4;
          word = word | byte << (8 * t);
        }
        store_as(out + (g * kPanel + n * kLanes) * 4, word);
      }
    }
  }
}

void packed_pack(PanelFormat format, int64_t in, const float* const* rows, std::byte* panel) {
  if (format == PanelFormat::q8) return pack_quantised<8>(in, rows, panel);
  if (format == PanelFormat::q4) return pack_quantised<4>(in, rows, panel);
  std::memset(panel, 0, panel_bytes(format, in));
  auto* floats = reinterpret_cast<float*>(panel);
  auto* halves = reinterpret_cast<uint16_t*>(panel);
  // Few columns at a time: the rows' reads and the panel's writes then both stay in the first
  // cache.
  constexpr int64_t kColumns = 16;
  for (int64_t begin = 0; begin < in; begin += kColumns) {
    const int64_t end = begin + kColumns < in ? begin + kColumns : in;
    for (int64_t r = 0; r < kPanel; ++r) {
      const float* w = rows[r];
      if (!w) continue;
      if (format == PanelFormat::f32) {
        for (int64_t k = begin; k < end; ++k) floats[k * kPanel + r] = w[k];
      } else {
        for (int64_t k = begin; k < end; ++k) put(halves + (k / 2 * kPanel + r) * 2 + k % 2, w[k]);
      }
    }
  }
}

void packed_unpack(PanelFormat format, int64_t in, const std::byte* panel, int64_t r,
                   float* values) {
  if (holds_blocks(format)) {
    float room[kQuantBlock * kPanel];
    for (int64_t k = 0; k < in; k += kQuantBlock) {
      decode_blocks(format, panel, k, kQuantBlock, room);
      for (int64_t i = 0; i < kQuantBlock; ++i) values[k + i] = room[i * kPanel + r];
    }
    return;
  }
  const auto* floats = reinterpret_cast<const float*>(panel);
  const auto* halves = reinterpret_cast<const uint16_t*>(panel);
  const auto* bytes = reinterpret_cast<const uint8_t*>(panel);
  const int bits = format == PanelFormat::q8 ? 8 : 4;
  const int64_t weights = kQuantBlock * kPanel * bits / 8;
  for (int64_t k = 0; k < in; ++k) {
    if (panel_header(format) > 0) {
      values[k] = compressed_value(format, panel, r, k);
    } else if (format == PanelFormat::f32) {
      values[k] = floats[k * kPanel + r];
    } else if (format == PanelFormat::bf16) {
      values[k] = to_float(halves[(k / 2 * kPanel + r) * 2 + k % 2]);
    } else {
      const uint8_t* block = bytes + k / kQuantBlock * (weights + 2 * kPanel);
      uint16_t half;
      std::memcpy(&half, block + weights + 2 * r, sizeof half);
      const int64_t i = k % kQuantBlock, j = bits == 8 ? i : i % 16;
      int q = block[(j / 4 * kPanel + r) * 4 + j % 4];
      if (bits == 4) q = i < 16 ? q & 15 : q >> 4;
      values[k] = static_cast<float>(q - (bits == 8 ? 128 : 8)) * from_half(half);
    }
  }
}

}  // namespace
}  // namespace continuo
