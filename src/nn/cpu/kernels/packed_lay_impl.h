// Lays the quantised blocks of a file into panels (packed_stored_impl.h). Their structures are
// ggml's. Included by packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_stored_impl.h"

namespace continuo {
namespace {

// 32 weights of a row, taken apart.
struct FileBlock {
  uint8_t codes[kQuantBlock];       // of 8 bits: signed
  uint16_t scale = 0, minimum = 0;  // halves; of a super-block its factors
  uint8_t scales[2] = {}, minima = 0;
};

void split_nibbles(const uint8_t* bytes, uint8_t* codes) {
  for (int64_t i = 0; i < 16; ++i) {
    codes[i] = bytes[i] & 15;
    codes[16 + i] = bytes[i] >> 4;
  }
}

// {d, [m,] [qh,] qs}, or {d, int8 qs}.
FileBlock read_plain_block(const BlockShape& shape, const uint8_t* at) {
  FileBlock block;
  std::memcpy(&block.scale, at, 2);
  at += 2;
  if (shape.minima) {
    std::memcpy(&block.minimum, at, 2);
    at += 2;
  }
  if (shape.bits == 8) {
    std::memcpy(block.codes, at, kQuantBlock);
    return block;
  }
  uint32_t upper = 0;
  if (shape.bits == 5) {
    std::memcpy(&upper, at, 4);
    at += 4;
  }
  split_nibbles(at, block.codes);
  for (int64_t i = 0; i < kQuantBlock; ++i)
    block.codes[i] |= static_cast<uint8_t>((upper >> i & 1u) << 4);
  return block;
}

// Sub-block j of {d, dmin, scales[12], [qh[32],] qs[128]}. The 12 bytes hold four scales, four
// minima and the low nibbles of the other eight, whose upper bits fill the first eight bytes.
FileBlock read_min_block(const BlockShape& shape, const uint8_t* at, int64_t j) {
  FileBlock block;
  std::memcpy(&block.scale, at, 2);
  std::memcpy(&block.minimum, at + 2, 2);
  const uint8_t* packed = at + 4;
  block.scales[0] = static_cast<uint8_t>(j < 4 ? packed[j] & 63
                                               : (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4);
  block.minima = static_cast<uint8_t>(j < 4 ? packed[j + 4] & 63
                                            : (packed[j + 4] >> 4) | (packed[j] >> 6) << 4);
  const uint8_t* qh = at + 16;
  const uint8_t* qs = qh + (shape.bits == 5 ? 32 : 0) + j / 2 * 32;
  const int shift = j % 2 == 0 ? 0 : 4;
  for (int64_t i = 0; i < kQuantBlock; ++i) {
    block.codes[i] = qs[i] >> shift & 15;
    if (shape.bits == 5) block.codes[i] |= static_cast<uint8_t>((qh[i] >> j & 1) << 4);
  }
  return block;
}

// Sub-block j of {ql[128], qh[64], int8 scales[16], d}.
FileBlock read_six_bit_block(const uint8_t* at, int64_t j) {
  FileBlock block;
  std::memcpy(&block.scale, at + 208, 2);
  block.scales[0] = at[192 + 2 * j];
  block.scales[1] = at[193 + 2 * j];
  const int64_t half = j / 4, low = half * 64 + j % 2 * 32, high = 128 + half * 32;
  const int low_shift = j % 4 < 2 ? 0 : 4, high_shift = static_cast<int>(j % 4) * 2;
  for (int64_t i = 0; i < kQuantBlock; ++i) {
    block.codes[i] = static_cast<uint8_t>((at[low + i] >> low_shift & 15) |
                                          (at[high + i] >> high_shift & 3) << 4);
  }
  return block;
}

FileBlock read_file_block(PanelFormat format, const uint8_t* row, int64_t b) {
  const BlockShape shape = block_shape(format);
  if (!shape.super) return read_plain_block(shape, row + b * file_block_bytes(format));
  const uint8_t* super = row + b / kSuperBlocks * file_block_bytes(format);
  return shape.minima ? read_min_block(shape, super, b % kSuperBlocks)
                      : read_six_bit_block(super, b % kSuperBlocks);
}

// Writes a block as output r of a panel.
void place_block(PanelFormat format, const FileBlock& block, int64_t r, const StoredBlock& to) {
  const BlockShape shape = block_shape(format);
  auto* codes = const_cast<uint8_t*>(to.codes);
  auto* scales = const_cast<uint8_t*>(to.scales);
  if (shape.bits == 8) {
    for (int64_t k = 0; k < kQuantBlock; ++k) codes[k * kPanel + r] = block.codes[k];
  } else {
    uint32_t fifth = 0, upper[2] = {};
    for (int64_t i = 0; i < 16; ++i) {
      const uint8_t low = block.codes[i], high = block.codes[16 + i];
      codes[i * kPanel + r] = static_cast<uint8_t>((low & 15) | high << 4);
      fifth |= (low >> 4 & 1u) << i | (high >> 4 & 1u) << (16 + i);
      upper[0] |= (low >> 4 & 3u) << (2 * i);
      upper[1] |= (high >> 4 & 3u) << (2 * i);
    }
    uint8_t* words = codes + 16 * kPanel + 4 * r;
    if (shape.bits == 5) std::memcpy(words, &fifth, 4);
    if (shape.bits == 6) {
      std::memcpy(words, &upper[0], 4);
      std::memcpy(words + 4 * kPanel, &upper[1], 4);
    }
  }
  if (!shape.super) {
    std::memcpy(scales + 2 * r, &block.scale, 2);
    if (shape.minima) std::memcpy(scales + 2 * (kPanel + r), &block.minimum, 2);
    return;
  }
  auto* factors = const_cast<uint16_t*>(to.factors);
  factors[r] = block.scale;
  scales[r] = block.scales[0];
  scales[kPanel + r] = shape.minima ? block.minima : block.scales[1];
  if (shape.minima) factors[kPanel + r] = block.minimum;
}

void packed_lay(PanelFormat format, int64_t in, const uint8_t* const* rows, std::byte* panel) {
  std::memset(panel, 0, panel_bytes(format, in));
  for (int64_t r = 0; r < kPanel; ++r) {
    for (int64_t b = 0; rows[r] && b < in / kQuantBlock; ++b)
      place_block(format, read_file_block(format, rows[r], b), r, stored_block(format, panel, b));
  }
}

}  // namespace
}  // namespace continuo
