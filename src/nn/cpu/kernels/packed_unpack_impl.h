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
      for (int64_t i = 0; i < kQuantBlock && k + i < in; ++i) values[k + i] = room[i * kPanel + r];
    }
    return;
  }
  const auto* floats = reinterpret_cast<const float*>(panel);
  const auto* halves = reinterpret_cast<const uint16_t*>(panel);
  for (int64_t k = 0; k < in; ++k) {
    if (panel_header(format) > 0) {
      values[k] = compressed_value(format, panel, r, k);
    } else if (format == PanelFormat::f32) {
      values[k] = floats[k * kPanel + r];
    } else {
      values[k] = to_float(halves[(k / 2 * kPanel + r) * 2 + k % 2]);
    }
  }
}

// Rows that are null are not written.
void packed_unpack_panel(PanelFormat format, int64_t in, const std::byte* panel,
                         float* const* rows) {
  alignas(64) float room[kQuantBlock * kPanel];
  for (int64_t first = 0; first < in; first += kQuantBlock) {
    const float* floats = block_weights<float>(format, panel, first, kQuantBlock, room);
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
