// The number formats of GGUF files over plain spans: one table of rows {type, name, block,
// to_float, from_float}, used by reader and writer. A tensor is a whole number of blocks per row.
// Knows neither files nor tensors. Layouts: ggml's block structures (little-endian).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "io/ggml_type.h"

namespace continuo {

struct GgmlFormat {
  using ToFloat = void (*)(const uint8_t* blocks, float* values, int64_t count);
  using FromFloat = void (*)(const float* values, uint8_t* blocks, int64_t count);

  GgmlType type;
  std::string_view name;  // as llama.cpp spells it
  int64_t block_size;     // values per block, 1 for plain numbers
  int64_t block_bytes;
  ToFloat to_float;      // `count` blocks; null where Continuo cannot decode the format
  FromFloat from_float;  // null where Continuo cannot produce it
};

// All rows, by rising type number.
std::span<const GgmlFormat> ggml_formats();
// Null for a number that names no format known here.
const GgmlFormat* find_ggml_format(uint32_t type);
// Null for an unknown name; upper or lower case.
const GgmlFormat* find_ggml_format(std::string_view name);
const GgmlFormat& ggml_format(GgmlType type);

// `values` are whole blocks, `blocks` their bytes. Error: sizes that do not fit, a format that
// cannot be decoded.
void dequantise(GgmlType type, std::span<const std::byte> blocks, std::span<float> values);

// The other way round. Q4_0 and Q8_0 give the bytes of ggml's reference quantiser, the others
// search their scales (line_blocks.h). Error: sizes that do not fit, a format that cannot be
// produced, and for F16 and quantised formats a value that is not finite or beyond ±65504 (the
// largest half).
void quantise(GgmlType type, std::span<const float> values, std::span<std::byte> blocks);

}  // namespace continuo
