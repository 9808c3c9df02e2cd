// Packing and unpacking of plain panels (packed.h). Included by packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_stored_impl.h"

namespace continuo {
namespace {

// The scale of 32 weights. 8 bits: the largest reaches ±127. 4 bits: the best of a few, by the
// squared error that is left, weighted by the squares of the weights: large ones carry more of the
// result.
template <int Bits>
float block_scale(const float* w) {
  float extreme = 0;
  for (int64_t i = 0; i < kQuantBlock; ++i)
    extreme = __builtin_fabsf(w[i]) > __builtin_fabsf(extreme) ? w[i] : extreme;
  if (extreme == 0.0f) return 0.0f;
  if constexpr (Bits == 8) return __builtin_fabsf(extreme) / 127.0f;
  float best = 0, best_gain = -1;
  for (int step = -6; step <= 6; ++step) {
    const float inverse = (-8.0f + 0.25f * static_cast<float>(step)) / extreme;
    Vec weighted{}, squares{};
    for (int64_t i = 0; i < kQuantBlock; i += kLanes) {
      const Vec x = load(w + i);
      const Vec bounded = min(max(x * inverse, splat(-8.0f)), splat(7.0f));
      const Vec q = (bounded + 12582912.0f) - 12582912.0f;  // rounds: 1.5 · 2^23
      weighted += x * x * x * q;
      squares += x * x * q * q;
    }
    const float wq = sum(weighted), qq = sum(squares);
    if (qq > 0 && wq * wq > best_gain * qq) {
      best_gain = wq * wq / qq;
      best = wq / qq;
    }
  }
  return best;
}

template <int Bits>
void pack_quantised(int64_t in, const float* const* rows, std::byte* panel) {
  constexpr int kLow = Bits == 8 ? -127 : -8, kHigh = Bits == 8 ? 127 : 7,
                kOffset = Bits == 8 ? 128 : 8;
  constexpr int64_t kWeights = kQuantBlock * kPanel * Bits / 8;
  auto* out = reinterpret_cast<uint8_t*>(panel);
  for (int64_t b = 0; b < packed_inputs(in) / kQuantBlock; ++b, out += kWeights + 2 * kPanel) {
    std::memset(out, 0, kWeights);
    for (int64_t r = 0; r < kPanel; ++r) {
      float w[kQuantBlock] = {};
      const int64_t count = in - b * kQuantBlock < kQuantBlock ? in - b * kQuantBlock : kQuantBlock;
      if (rows[r]) std::memcpy(w, rows[r] + b * kQuantBlock, count * sizeof(float));
      const uint16_t half = to_half(block_scale<Bits>(w));
      std::memcpy(out + kWeights + 2 * r, &half, sizeof half);
      const float scale = from_half(half), inverse = scale == 0.0f ? 0.0f : 1.0f / scale;
      for (int64_t i = 0; i < kQuantBlock; ++i) {
        const float rounded = __builtin_rintf(w[i] * inverse);
        const int q = static_cast<int>(rounded < kLow    ? kLow
                                       : rounded > kHigh ? kHigh
                                                         : rounded) +
                      kOffset;
        if constexpr (Bits == 8) {
          out[(i / 4 * kPanel + r) * 4 + i % 4] = static_cast<uint8_t>(q);
        } else {
          const int64_t j = i % 16;
          out[(j / 4 * kPanel + r) * 4 + j % 4] |= static_cast<uint8_t>(i < 16 ? q : q << 4);
        }
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
