// Lays the quantised blocks of a file into panels (packed_stored_impl.h). Their structures are
// ggml's. Included by packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_stored_impl.h"

namespace continuo {
namespace {

// Rows to columns: four times the lower and upper halves of rows that are eight apart are
// interleaved.
void transpose_bytes(Bytes16* rows) {
  Bytes16 next[16];
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 8; ++i) {
      next[2 * i] = alternate<false>(rows[i], rows[i + 8]);
      next[2 * i + 1] = alternate<true>(rows[i], rows[i + 8]);
    }
    std::memcpy(rows, next, sizeof next);
  }
}

// 32 weights of a row, taken apart.
struct FileBlock {
  Bytes16 codes[2];   // of 8 bits; or the first is of nibbles, k in the low and k + 16 in the high
  uint32_t upper[2];  // of 5 and 6 bits
  uint16_t scale, minimum;  // halves; of a super-block its factors
  uint8_t scales[2], minima;
};

// {d, [m,] [qh,] qs}, or {d, int8 qs}.
FileBlock read_plain_block(const BlockShape& shape, const uint8_t* at) {
  FileBlock block = {};
  std::memcpy(&block.scale, at, 2);
  at += 2;
  if (shape.minima) {
    std::memcpy(&block.minimum, at, 2);
    at += 2;
  }
  if (shape.bits == 5) {
    std::memcpy(&block.upper[0], at, 4);
    at += 4;
  }
  std::memcpy(block.codes, at, shape.bits == 8 ? 32 : 16);
  return block;
}

// The lower or upper nibbles of 32 bytes.
Bytes16 join_nibbles(const uint8_t* bytes, bool upper) {
  Bytes16 first, second;
  std::memcpy(&first, bytes, 16);
  std::memcpy(&second, bytes + 16, 16);
  return upper ? (first >> 4) | (second & 0xf0) : (first & 15) | (second << 4);
}

// Bit j of eight bytes.
uint32_t bits_of_bytes(const uint8_t* bytes, int64_t j) {
  uint64_t eight;
  std::memcpy(&eight, bytes, sizeof eight);
  return static_cast<uint32_t>(((eight >> j & 0x0101010101010101u) * 0x0102040810204080u) >> 56);
}

// Two bits from bit `shift` on of four bytes.
uint32_t pairs_of_bytes(const uint8_t* bytes, int shift) {
  uint32_t four;
  std::memcpy(&four, bytes, sizeof four);
  four = four >> shift & 0x03030303u;
  return (four | four >> 6 | four >> 12 | four >> 18) & 0xffu;
}

// Sub-block j of {d, dmin, scales[12], [qh[32],] qs[128]}. The 12 bytes hold four scales, four
// minima and the low nibbles of the other eight, whose upper bits fill the first eight bytes.
FileBlock read_min_block(const BlockShape& shape, const uint8_t* at, int64_t j) {
  FileBlock block = {};
  std::memcpy(&block.scale, at, 2);
  std::memcpy(&block.minimum, at + 2, 2);
  const uint8_t* packed = at + 4;
  block.scales[0] = static_cast<uint8_t>(j < 4 ? packed[j] & 63
                                               : (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4);
  block.minima = static_cast<uint8_t>(j < 4 ? packed[j + 4] & 63
                                            : (packed[j + 4] >> 4) | (packed[j] >> 6) << 4);
  const uint8_t* qh = at + 16;
  block.codes[0] = join_nibbles(qh + (shape.bits == 5 ? 32 : 0) + j / 2 * 32, j % 2 == 1);
  for (int i = 0; shape.bits == 5 && i < 4; ++i)
    block.upper[0] |= bits_of_bytes(qh + 8 * i, j) << (8 * i);
  return block;
}

// Sub-block j of {ql[128], qh[64], int8 scales[16], d}.
FileBlock read_six_bit_block(const uint8_t* at, int64_t j) {
  FileBlock block = {};
  std::memcpy(&block.scale, at + 208, 2);
  std::memcpy(block.scales, at + 192 + 2 * j, 2);
  block.codes[0] = join_nibbles(at + j / 4 * 64 + j % 2 * 32, j % 4 >= 2);
  const uint8_t* high = at + 128 + j / 4 * 32;
  for (int i = 0; i < 8; ++i) {
    block.upper[i / 4] |= pairs_of_bytes(high + 4 * i, static_cast<int>(j % 4) * 2)
                          << (8 * (i % 4));
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

// Codes `part` of all outputs, side by side for each value of k.
void place_codes(const FileBlock* blocks, int part, uint8_t* codes) {
  for (int64_t first = 0; first < kPanel; first += 16) {
    Bytes16 rows[16];
    for (int64_t r = 0; r < 16; ++r) rows[r] = blocks[first + r].codes[part];
    transpose_bytes(rows);
    for (int64_t k = 0; k < 16; ++k) std::memcpy(codes + k * kPanel + first, &rows[k], 16);
  }
}

// The blocks of the outputs of a panel.
void place_blocks(const BlockShape& shape, const FileBlock* blocks, const StoredBlock& to) {
  auto* codes = const_cast<uint8_t*>(to.codes);
  auto* scales = const_cast<uint8_t*>(to.scales);
  auto* factors = const_cast<uint16_t*>(to.factors);
  place_codes(blocks, 0, codes);
  if (shape.bits == 8) place_codes(blocks, 1, codes + 16 * kPanel);
  for (int64_t r = 0; r < kPanel; ++r) {
    const FileBlock& block = blocks[r];
    uint8_t* words = codes + 16 * kPanel + 4 * r;
    if (shape.bits == 5 || shape.bits == 6) std::memcpy(words, &block.upper[0], 4);
    if (shape.bits == 6) std::memcpy(words + 4 * kPanel, &block.upper[1], 4);
    if (!shape.super) {
      std::memcpy(scales + 2 * r, &block.scale, 2);
      if (shape.minima) std::memcpy(scales + 2 * (kPanel + r), &block.minimum, 2);
      continue;
    }
    factors[r] = block.scale;
    if (shape.minima) factors[kPanel + r] = block.minimum;
    scales[r] = block.scales[0];
    scales[kPanel + r] = shape.minima ? block.minima : block.scales[1];
  }
}

void packed_lay(PanelFormat format, int64_t in, const uint8_t* const* rows, std::byte* panel) {
  const BlockShape shape = block_shape(format);
  for (int64_t b = 0; b < in / kQuantBlock; ++b) {
    FileBlock blocks[kPanel];
    for (int64_t r = 0; r < kPanel; ++r)
      blocks[r] = rows[r] ? read_file_block(format, rows[r], b) : FileBlock{};
    place_blocks(shape, blocks, stored_block(format, panel, b));
  }
}

}  // namespace
}  // namespace continuo
