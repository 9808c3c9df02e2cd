// Products of activations with packed weights: what decoding is made of. A matrix [out, in] is
// stored as panels of kPanel output rows whose values for one k lie side by side, so that a panel
// is read as one stream, a vector holds as many outputs as it has lanes, nothing is summed across
// lanes, and several rows of activations share what was read. Every output is accumulated over k in
// one fixed order, whatever the number of rows: a row's bits do not depend on the rows beside it.
// The formats differ in what they keep of a weight:
//   f32   [in][32] float, activations float
//   bf16  [in/2][32][2] bfloat16, activations rounded to bfloat16, sums float
//   q8    per 32 values of k what nn/panel_layout.h says; activations integers of 8 bits with a
//         scale for every 32
//   q4    the same of 4 bits
// Trained weights differ in few of the bits of their exponents, so f32 and bf16 are also stored
// shorter without loss, where the matrix allows it: per panel a table of the 15 most frequent upper
// bytes and zero, then per four values of k
//   f32_in_28    [64] uint8 codes of two upper bytes, [2][64] second bytes, [4][32] lower halves
//   f32_in_12    the same without the lower halves: floats that all are bfloat16
//   bf16_in_12   the same for bfloat16 products
// What a file holds in quantised blocks is laid into panels block by block, with nothing lost:
//   stored_*   per 32 values of k their codes, as q8 and q4 have them, the fifth and sixth bits in
//              [32] and [2][32] words behind the nibbles; then [32] half scales and, where there
//              are minima, [32] half minima; or, where 256 values share factors, [2][32] bytes of
//              scales and minima, of 6 bits of the two groups' scales, the [32] half factors of
//              both standing before eight such blocks. stored_q8_0 is q8, and stored_q4_1 is q4.
//              The upper bits of the values 4g + j of k lie together in byte j of a word, those of
//              the first groups in its upper nibble: of 5 bits bit 4 + g, then g − 4; of 6 bits, a
//              word for every 16 values, bits 4 + 2g, then 2g − 4.
// These weights are those of the file's decoding. Blocks are multiplied with integers, as q8 and q4
// are, or with floats: then the products are those of f32, bit for bit.
// Weights whose upper byte is not in the table are zero in the panel and listed beside it; the
// order within the 64 is that in which vectors unpack (compressed_impl.h). The products are those
// of f32 and bf16, bit for bit, but for listed weights, which are added at the end. Integer sums
// are exact, so products of integers differ between instruction sets only by the rounding of float
// sums.
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

// What a product reads of the activations.
enum class Activations { floats, halves, integers };
// Blocks of a file are read with floats unless integers are asked for.
constexpr Activations activations_of(PanelFormat format) {
  switch (format) {
    case PanelFormat::bf16:
    case PanelFormat::bf16_in_12:
      return Activations::halves;
    case PanelFormat::q8:
    case PanelFormat::q4:
      return Activations::integers;
    default:
      return Activations::floats;
  }
}

inline constexpr int64_t kSuperBlock = 256;  // values of k that share factors
inline constexpr int64_t kQuantGroup = 16;   // of activations, that have a sum of their own

// A block of 32 weights of an output.
struct BlockShape {
  int bits = 0;         // of a code; 0 = the format has no blocks
  int zero = 0;         // the code that stands for 0, where there are no minima
  bool minima = false;  // what is added is stored
  bool super = false;   // scales and minima are integers, times factors of the super-block
  int group = 32;       // weights that share a scale
};
constexpr BlockShape block_shape(PanelFormat format) {
  switch (format) {
    case PanelFormat::stored_q4_0:
      return {.bits = 4, .zero = 8};
    case PanelFormat::q4:
    case PanelFormat::stored_q4_1:
      return {.bits = 4, .minima = true};
    case PanelFormat::stored_q5_0:
      return {.bits = 5, .zero = 16};
    case PanelFormat::stored_q5_1:
      return {.bits = 5, .minima = true};
    case PanelFormat::q8:
    case PanelFormat::stored_q8_0:
      return {.bits = 8, .zero = 128};
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
constexpr bool is_stored(PanelFormat format) { return format >= PanelFormat::stored_q4_0; }

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
constexpr int64_t file_block_bytes(const BlockShape& shape) {
  if (shape.super && !shape.minima) return 18 + kSuperBlock * shape.bits / 8;
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
  const float* values = nullptr;     // [rows, stride]
  const uint16_t* halves = nullptr;  // [rows, stride]
  const int8_t* integers = nullptr;  // [rows, stride]
  const float* scales = nullptr;     // [rows, stride / 32], of the integers
  const int32_t* sums = nullptr;     // [rows, stride / 16], of the integers
  const float* totals = nullptr;     // [rows, stride / 32], sums times scales: minima weigh those
};

// Where `quantise` leaves activations, as above.
struct RoundedInput {
  int8_t* integers;
  float* scales;
  int32_t* sums;
  float* totals;
};

// The products of all rows with a matrix: y[m · stride_y + p · kPanel + n] is that of row m with
// output n < kPanel of panel p.
struct PackedProduct {
  PanelFormat format;
  Activations reads;  // activations_of(format), or integers where it holds blocks
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
  // n floats, a multiple of 32 → bfloat16; or integers with scale max|x| / 127.
  void (*round)(int64_t n, const float* x, uint16_t* halves);
  void (*quantise)(int64_t n, const float* x, const RoundedInput& to);
};

}  // namespace continuo
