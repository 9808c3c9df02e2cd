// The weights of panels as their products see them (packed.h). Included by packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_blocks_impl.h"
#include "nn/cpu/kernels/tile_impl.h"

namespace continuo {
namespace {

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
  const int64_t codes = kQuantBlock * kPanel * bits / 8;
  for (int64_t k = 0; k < in; ++k) {
    if (panel_header(format) > 0) {
      values[k] = compressed_value(format, panel, r, k);
    } else if (format == PanelFormat::f32) {
      values[k] = floats[k * kPanel + r];
    } else if (format == PanelFormat::bf16) {
      values[k] = to_float(halves[(k / 2 * kPanel + r) * 2 + k % 2]);
    } else {
      const uint8_t* block = bytes + k / kQuantBlock * quantised_bytes(bits);
      uint16_t factors[2] = {};  // scale, minimum
      std::memcpy(&factors[0], block + codes + 2 * r, 2);
      if (bits == 4) std::memcpy(&factors[1], block + codes + 2 * (kPanel + r), 2);
      const int64_t i = k % kQuantBlock, j = bits == 8 ? i : i % 16;
      int code = block[(j / 4 * kPanel + r) * 4 + j % 4];
      code = bits == 8 ? code - 128 : i < 16 ? code & 15 : code >> 4;
      values[k] = static_cast<float>(code) * from_half(factors[0]) + from_half(factors[1]);
    }
  }
}

// Floats [32][kPanel] of block b of a panel of q8 or q4.
template <int Bits>
void dequantise_block(const std::byte* panel, int64_t b, float* floats) {
  constexpr int64_t kCodes = kQuantBlock * kPanel * Bits / 8;
  const auto* block = reinterpret_cast<const uint8_t*>(panel) + b * quantised_bytes(Bits);
  const auto* factors = reinterpret_cast<const uint16_t*>(block + kCodes);
  for (int64_t first = 0; first < kPanel; first += kLanes) {
    const Vec scale = load_half(factors + first);
    const Vec minimum = Bits == 4 ? load_half(factors + kPanel + first) : splat(0.0f);
    for (int64_t g = 0; g < Bits; ++g) {
      const VecU word = load_as<VecU>(block + (g * kPanel + first) * 4);
      for (int64_t t = 0; t < 4; ++t) {
        const VecI byte = bits_as<VecI>((word >> static_cast<int>(8 * t)) & 0xffu);
        float* at = floats + (4 * g + t) * kPanel + first;
        if constexpr (Bits == 8) {
          store(at, convert<Vec>(byte - 128) * scale);
        } else {
          store(at, convert<Vec>(byte & 15) * scale + minimum);
          store(at + 16 * kPanel, convert<Vec>(byte >> 4) * scale + minimum);
        }
      }
    }
  }
}

const float* block_floats(PanelFormat format, const std::byte* panel, int64_t b, float* room) {
  if (!reads_integers(format)) {
    return block_weights<float>(format, panel, b * kQuantBlock, kQuantBlock, room);
  }
  format == PanelFormat::q8 ? dequantise_block<8>(panel, b, room)
                            : dequantise_block<4>(panel, b, room);
  return room;
}

// Rows that are null are not written.
void packed_unpack_panel(PanelFormat format, int64_t in, const std::byte* panel,
                         float* const* rows) {
  alignas(64) float room[kQuantBlock * kPanel];
  for (int64_t first = 0; first < in; first += kQuantBlock) {
    const float* floats = block_floats(format, panel, first / kQuantBlock, room);
    for (int64_t r = 0; r < kPanel; r += kLanes) {
      for (int64_t k = 0; k < kQuantBlock && first + k < in; k += kLanes) {
        VecU tile[kLanes];
        for (int64_t i = 0; i < kLanes; ++i) tile[i] = load_as<VecU>(floats + (k + i) * kPanel + r);
        transpose(tile);
        const int64_t left = in - first - k, count = left < kLanes ? left : kLanes;
        for (int64_t i = 0; i < kLanes; ++i) {
          if (!rows[r + i]) continue;
          float values[kLanes];
          store_as(values, tile[i]);
          std::memcpy(rows[r + i] + first + k, values, count * sizeof(float));
        }
      }
    }
  }
}

}  // namespace
}  // namespace continuo
