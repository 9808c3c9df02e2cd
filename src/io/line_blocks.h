// Block formats whose values lie on lines, 32 on each: value = code · scale + minimum. Here a block
// is made in two steps, so that between them the codes may be chosen by more than nearness
// (calibrated_blocks.h). Knows neither files nor tensors.
#pragma once

#include <cstdint>

#include "io/ggml_type.h"

namespace continuo {

inline constexpr int kLineValues = 32;
inline constexpr int kMostLines = 8;  // of a block of any format

struct CodeLine {
  float scale = 0, minimum = 0;  // as a block holds them

  float value(float code) const { return code * scale + minimum; }
};

struct LineFormat {
  GgmlType type;
  int bytes;        // of a block
  int lines;        // in it
  int least, most;  // codes
  // Finds lines that leave little of Σ weight · (value − code · scale − minimum)² where each value
  // takes its nearest code, and writes them into the block, which is zero before. `lines` is what
  // was written.
  void (*fit)(const float* values, const float* weights, uint8_t* block, CodeLine* lines);
  // Adds the codes of all its values to a block that holds its lines.
  void (*write)(const int8_t* codes, uint8_t* block);
};

// Null for formats that have other grids, and for plain numbers.
const LineFormat* find_line_format(GgmlType type);

// An encoder of GgmlFormat: nearest codes on lines for values that all weigh the same, but for
// Q4_K, where large ones weigh more than their share of the squares says.
template <GgmlType kType>
void nearest_blocks(const float* values, uint8_t* blocks, int64_t count);

// How values of a row make up for each other: factor[i · stride + j], j ≥ i, is the upper Cholesky
// factor of the inverse of the inputs' second moments; weights[i] is its diagonal's 1 / square.
struct Compensation {
  const float* factor;
  int64_t stride;
  const float* weights;
};

// Whole blocks of `count` neighbouring values of a row. What the rounding of a value does is shared
// out to those behind it: `values` are changed, and errors[i], the rounding of value i over its
// factor, is what values beyond these are to lose times their own factors.
void compensated_blocks(const LineFormat& format, const Compensation& by, int64_t count,
                        float* values, float* errors, uint8_t* blocks);

}  // namespace continuo
