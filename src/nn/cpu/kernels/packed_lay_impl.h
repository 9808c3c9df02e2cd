// Lays the quantised blocks of a file into panels (packed_stored_impl.h). Their structures are
// ggml's. Included by packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_stored_impl.h"

namespace continuo {
namespace {

inline uint32_t word_at(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// 32 weights of a row, taken apart.
struct FileBlock {
  uint8_t codes[32];  // of 8 bits, signed; or 16 of nibbles, k in the low and k + 16 in the high
  uint32_t upper[2];  // of 5 and 6 bits, in the order of the panels
  uint16_t scale, minimum;  // halves; of a super-block its factors
  uint8_t scales[2], minima;
};

// Upper bits of group g of four values, `bits` each in the lowest place of four bytes, to where
// panels have them.
uint32_t upper_bits(uint32_t four, int64_t g, int bits) { return four << ((4 + bits * g) % 8); }

// {d, [m,] [qh,] qs}, or {d, int8 qs}.
template <BlockShape S>
FileBlock read_plain_block(const uint8_t* at) {
  FileBlock block;
  std::memcpy(&block.scale, at, 2);
  at += 2;
  if constexpr (S.minima) {
    std::memcpy(&block.minimum, at, 2);
    at += 2;
  }
  if constexpr (S.bits == 5) {
    const uint32_t bits = word_at(at);
    block.upper[0] = 0;
    for (int64_t g = 0; g < 8; ++g) {
      // Copies that are seven bits apart have every fourth bit in the lowest place of a byte.
      const uint32_t four = ((bits >> 4 * g & 15u) * 0x00204081u) & 0x01010101u;
      block.upper[0] |= upper_bits(four, g, 1);
    }
    at += 4;
  }
  std::memcpy(block.codes, at, S.bits == 8 ? 32 : 16);
  return block;
}

// The lower or upper nibbles of 32 bytes.
void join_nibbles(const uint8_t* bytes, bool upper, uint8_t* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = static_cast<uint8_t>(upper ? bytes[i] >> 4 | (bytes[i + 16] & 0xf0)
                                          : (bytes[i] & 15) | bytes[i + 16] << 4);
  }
}

// Sub-block j of {d, dmin, scales[12], [qh[32],] qs[128]}. The 12 bytes hold four scales, four
// minima and the low nibbles of the other eight, whose upper bits fill the first eight bytes.
template <BlockShape S>
FileBlock read_min_block(const uint8_t* at, int64_t j) {
  FileBlock block;
  std::memcpy(&block.scale, at, 2);
  std::memcpy(&block.minimum, at + 2, 2);
  const uint8_t* packed = at + 4;
  block.scales[0] = static_cast<uint8_t>(j < 4 ? packed[j] & 63
                                               : (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4);
  block.minima = static_cast<uint8_t>(j < 4 ? packed[j + 4] & 63
                                            : (packed[j + 4] >> 4) | (packed[j] >> 6) << 4);
  const uint8_t* qh = at + 16;
  join_nibbles(qh + (S.bits == 5 ? 32 : 0) + j / 2 * 32, j % 2 == 1, block.codes);
  if constexpr (S.bits == 5) {
    block.upper[0] = 0;
    for (int64_t g = 0; g < 8; ++g)
      block.upper[0] |= upper_bits(word_at(qh + 4 * g) >> j & 0x01010101u, g, 1);
  }
  return block;
}

// Sub-block j of {ql[128], qh[64], int8 scales[16], d}.
FileBlock read_six_bit_block(const uint8_t* at, int64_t j) {
  FileBlock block;
  block.upper[0] = block.upper[1] = 0;
  std::memcpy(&block.scale, at + 208, 2);
  std::memcpy(block.scales, at + 192 + 2 * j, 2);
  join_nibbles(at + j / 4 * 64 + j % 2 * 32, j % 4 >= 2, block.codes);
  const uint8_t* high = at + 128 + j / 4 * 32;
  for (int64_t g = 0; g < 8; ++g) {
    const uint32_t four = word_at(high + 4 * g) >> (j % 4 * 2) & 0x03030303u;
    block.upper[g / 4] |= upper_bits(four, g % 4, 2);
  }
  return block;
}

template <BlockShape S>
FileBlock read_file_block(const uint8_t* row, int64_t b) {
  if constexpr (!S.super) return read_plain_block<S>(row + b * file_block_bytes(S));
  const uint8_t* super = row + b / kSuperBlocks * file_block_bytes(S);
  if constexpr (S.minima) return read_min_block<S>(super, b % kSuperBlocks);
  return read_six_bit_block(super, b % kSuperBlocks);
}

// The block of output r of a panel.
template <BlockShape S>
void place_block(const FileBlock& block, int64_t r, const StoredBlock& to) {
  auto* words = const_cast<uint8_t*>(to.codes) + 4 * r;
  auto* scales = const_cast<uint8_t*>(to.scales);
  auto* factors = const_cast<uint16_t*>(to.factors);
  for (int64_t g = 0; g < (S.bits == 8 ? 8 : 4); ++g, words += 4 * kPanel) {
    const uint32_t four = word_at(block.codes + 4 * g) ^ (S.bits == 8 ? 0x80808080u : 0);
    std::memcpy(words, &four, 4);
  }
  if constexpr (S.bits == 5 || S.bits == 6) std::memcpy(words, &block.upper[0], 4);
  if constexpr (S.bits == 6) std::memcpy(words + 4 * kPanel, &block.upper[1], 4);
  if constexpr (!S.super) {
    std::memcpy(scales + 2 * r, &block.scale, 2);
    if constexpr (S.minima) std::memcpy(scales + 2 * (kPanel + r), &block.minimum, 2);
  } else {
    factors[r] = block.scale;
    if constexpr (S.minima) factors[kPanel + r] = block.minimum;
    scales[r] = block.scales[0];
    scales[kPanel + r] = S.minima ? block.minima : block.scales[1];
  }
}

template <BlockShape S>
void lay_blocks(int64_t in, const uint8_t* const* rows, std::byte* panel) {
  for (int64_t b = 0; b < in / kQuantBlock; ++b) {
    const StoredBlock to = stored_block(S, panel, b);
    for (int64_t r = 0; r < kPanel; ++r)
      place_block<S>(rows[r] ? read_file_block<S>(rows[r], b) : FileBlock{}, r, to);
  }
}

void packed_lay(PanelFormat format, int64_t in, const uint8_t* const* rows, std::byte* panel) {
  with_block_shape(format, [&](auto shape) { lay_blocks<shape()>(in, rows, panel); });
}

}  // namespace
}  // namespace continuo
