// Products of activations with packed weights: what decoding is made of. A matrix [out, in] is
// stored as panels of kPanel output rows whose values for one k lie side by side, so that a panel
// is read as one stream, a vector holds as many outputs as it has lanes, nothing is summed across
// lanes, and several rows of activations share what was read. Every output is accumulated over k in
// one fixed order, whatever the number of rows: a row's bits do not depend on the rows beside it.
// The formats differ in what they keep of a weight:
//   f32   [in][32] float, activations float
//   bf16  [in/2][32][2] bfloat16, activations rounded to bfloat16, sums float
//   q8    per 32 values of k what nn/panel_layout.h says; activations integers of 8 bits per 32
//         values
//   q4    the same of 4 bits
// Trained weights differ in few of the bits of their exponents, so f32 and bf16 are also stored
// shorter without loss, where the matrix allows it: per panel a table of the 15 most frequent upper
// bytes and zero, then per four values of k
//   f32_in_28    [64] uint8 codes of two upper bytes, [2][64] second bytes, [4][32] lower halves
//   f32_in_12    the same without the lower halves: floats that all are bfloat16
//   bf16_in_12   the same for bfloat16 products
// What a file holds in quantised blocks is laid into panels block by block, with nothing lost:
//   stored_*   per 32 values of k the codes, [32][32] int8 or [16][32] of two nibbles (k in the
//   low,
//              k + 16 in the high one) and [32] words, [2][32] of 6 bits, with their upper bits;
//              then [32] half scales and, where there are minima, [32] half minima; or, where 256
//              values share factors, [2][32] bytes of scales and minima, of 6 bits of the two
//              groups' scales, the [32] half factors of both standing before eight such blocks
// These weights are those of the file's decoding, and their products those of f32, bit for bit.
// Weights whose upper byte is not in the table are zero in the panel and listed beside it; the
// order within the 64 is that in which vectors unpack (compressed_impl.h). The products are those
// of f32 and bf16, bit for bit, but for listed weights, which are added at the end. Integer sums
// are exact, so q8 and q4 differ between instruction sets only by the rounding of float sums.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nn/panel_layout.h"

namespace continuo {

enum class PanelFormat {
  f32,
  bf16,
  q8,
  q4,
  f32_in_28,
  f32_in_12,
  bf16_in_12,
  stored_q4_0,
  stored_q4_1,
  stored_q5_0,
  stored_q5_1,
  stored_q8_0,
  stored_q4_k,
  stored_q5_k,
  stored_q6_k
};

constexpr bool reads_halves(PanelFormat format) {
  return format == PanelFormat::bf16 || format == PanelFormat::bf16_in_12;
}
constexpr bool reads_integers(PanelFormat format) {
  return format == PanelFormat::q8 || format == PanelFormat::q4;
}

inline constexpr int64_t kSuperBlock = 256;  // values of k that share factors

// A block of 32 weights of an output.
struct BlockShape {
  int bits = 0;         // of a code, 8: signed; 0 = the format has no blocks of a file
  int zero = 0;         // the code that stands for 0, where there are no minima
  bool minima = false;  // what is added is stored
  bool super = false;   // scales and minima are integers, times factors of the super-block
  int group = 32;       // weights that share a scale
};
constexpr BlockShape block_shape(PanelFormat format) {
  switch (format) {
    case PanelFormat::stored_q4_0:
      return {.bits = 4, .zero = 8};
    case PanelFormat::stored_q4_1:
      return {.bits = 4, .minima = true};
    case PanelFormat::stored_q5_0:
      return {.bits = 5, .zero = 16};
    case PanelFormat::stored_q5_1:
      return {.bits = 5, .minima = true};
    case PanelFormat::stored_q8_0:
      return {.bits = 8};
    case PanelFormat::stored_q4_k:
      return {.bits = 4, .minima = true, .super = true};
    case PanelFormat::stored_q5_k:
      return {.bits = 5, .minima = true, .super = true};
    case PanelFormat::stored_q6_k:
      return {.bits = 6, .zero = 32, .super = true, .group = 16};
    default:
      return {};
  }
}
constexpr bool holds_blocks(PanelFormat format) { return block_shape(format).bits > 0; }

// Bytes in a panel: the codes of a block, all of it, and the factors of a super-block.
constexpr int64_t code_bytes(const BlockShape& shape) {
  return kQuantBlock * kPanel * shape.bits / 8;
}
constexpr int64_t block_bytes(const BlockShape& shape) {
  return code_bytes(shape) + (shape.super || !shape.minima ? 2 * kPanel : 4 * kPanel);
}
constexpr int64_t super_bytes(const BlockShape& shape) {
  return !shape.super ? 0 : shape.minima ? 4 * kPanel : 2 * kPanel;
}
// Bytes of a row's block, or super-block, in the file.
constexpr int64_t file_block_bytes(PanelFormat format) {
  const BlockShape shape = block_shape(format);
  if (format == PanelFormat::stored_q6_k) return 210;
  if (shape.super) return 16 + kSuperBlock * shape.bits / 8;
  return (shape.minima ? 4 : 2) + kQuantBlock * shape.bits / 8;
}

// Bytes of the table that a compressed panel begins with.
constexpr int64_t panel_header(PanelFormat format) {
  return format == PanelFormat::f32_in_28 || format == PanelFormat::f32_in_12 ||
                 format == PanelFormat::bf16_in_12
             ? 64
             : 0;
}

// Bytes of one panel.
constexpr int64_t panel_bytes(PanelFormat format, int64_t in) {
  const int64_t padded = packed_inputs(in);
  switch (format) {
    case PanelFormat::f32:
      return padded * kPanel * 4;
    case PanelFormat::bf16:
      return padded * kPanel * 2;
    case PanelFormat::q8:
      return padded / kQuantBlock * quantised_bytes(8);
    case PanelFormat::q4:
      return padded / kQuantBlock * quantised_bytes(4);
    case PanelFormat::f32_in_28:
      return panel_header(format) + padded * kPanel * 7 / 2;
    case PanelFormat::f32_in_12:
    case PanelFormat::bf16_in_12:
      return panel_header(format) + padded * kPanel * 3 / 2;
    default: {
      const BlockShape shape = block_shape(format);
      return padded / kQuantBlock * block_bytes(shape) + padded / kSuperBlock * super_bytes(shape);
    }
  }
}

// Rows of activations as the products read them; `stride` = packed_inputs(in), what lies beyond
// `in` is zero.
struct PackedInput {
  const float* values = nullptr;        // f32 and its kin: [rows, stride]
  const uint16_t* halves = nullptr;     // bf16 and its kin: [rows, stride]
  const std::byte* integers = nullptr;  // q8, q4: [rows, stride] as `quantise` leaves them
  const float* scales = nullptr;        // q8, q4: [rows, stride / 32]
  // [rows, stride / 32]: q4 Σ integers, which weighs the minima; q8 −128 · Σ integers, which takes
  // back what makes the codes unsigned.
  const int32_t* offsets = nullptr;
};

// The products of all rows with a matrix: y[m · stride_y + p · kPanel + n] is that of row m with
// output n < kPanel of panel p.
struct PackedProduct {
  PanelFormat format;
  int64_t rows, in;
  PackedInput x;
  const std::byte* data;  // panel 0
  float* y;
  int64_t stride_y;
};

// A weight that a compressed panel cannot hold: row n of the panel, and its exact value.
struct Exception {
  uint32_t n, k;
  float value;
};

struct PackedKernels {
  // One panel from kPanel rows of `in` floats; null rows are zeros.
  void (*pack)(PanelFormat format, int64_t in, const float* const* rows, std::byte* panel);
  // The same for the compressed formats; the weights that do not fit go to `exceptions`, in the
  // order of k. → how many; above `capacity` the panel is unusable.
  int64_t (*compress)(PanelFormat format, int64_t in, const float* const* rows, std::byte* panel,
                      Exception* exceptions, int64_t capacity);
  bool compresses;  // quickly enough to be worth it
  // One panel from kPanel rows of a file's blocks, `in` values each; null rows are zeros.
  void (*lay)(PanelFormat format, int64_t in, const uint8_t* const* rows, std::byte* panel);
  // The values of row r of a panel as the products see them.
  void (*unpack)(PanelFormat format, int64_t in, const std::byte* panel, int64_t r, float* values);
  // The same of all rows, `in` values each; null rows are left out.
  void (*unpack_panel)(PanelFormat format, int64_t in, const std::byte* panel, float* const* rows);
  // Of the panels [begin, end), all rows.
  void (*product)(const PackedProduct& product, int64_t begin, int64_t end);
  // n floats, a multiple of 32 → bfloat16; or int8 with scale max|x| / 127 and sum per 32 values.
  void (*round)(int64_t n, const float* x, uint16_t* halves);
  void (*quantise)(PanelFormat format, int64_t n, const float* x, std::byte* integers,
                   float* scales, int32_t* offsets);
  // Bytes of an activation's integer there: one, int8 in the order of k; or two, int16 in the order
  // 0, 2, 1, 3 of every four.
  int64_t (*integer_bytes)(PanelFormat format);
};

}  // namespace continuo
