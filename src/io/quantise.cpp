#include "io/quantise.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "io/block_formats.h"
#include "io/line_blocks.h"

namespace continuo {
namespace {

template <class Number>
void number_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    Number number;
    std::memcpy(&number, blocks + i * static_cast<int64_t>(sizeof number), sizeof number);
    values[i] = static_cast<float>(number);
  }
}

template <float (*kConvert)(uint16_t)>
void bits_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, blocks + 2 * i, sizeof bits);
    values[i] = kConvert(bits);
  }
}

template <uint16_t (*kConvert)(float)>
void bits_from_float(const float* values, uint8_t* blocks, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = kConvert(values[i]);
    std::memcpy(blocks + 2 * i, &bits, sizeof bits);
  }
}

void f32_from_float(const float* values, uint8_t* blocks, int64_t count) {
  std::memcpy(blocks, values, static_cast<size_t>(count) * sizeof(float));
}

using Type = GgmlType;
// Without decoders stand the formats that are only named and measured.
constexpr std::array kFormats{
    GgmlFormat{Type::kF32, "F32", 1, 4, number_to_float<float>, f32_from_float},
    GgmlFormat{Type::kF16, "F16", 1, 2, bits_to_float<half_to_float>,
               bits_from_float<float_to_half>},
    GgmlFormat{Type::kQ4_0, "Q4_0", 32, 18, blocks::q4_0_to_float, blocks::q4_0_from_float},
    GgmlFormat{Type::kQ4_1, "Q4_1", 32, 20, blocks::q4_1_to_float, nearest_blocks<Type::kQ4_1>},
    GgmlFormat{Type::kQ5_0, "Q5_0", 32, 22, blocks::q5_0_to_float, nearest_blocks<Type::kQ5_0>},
    GgmlFormat{Type::kQ5_1, "Q5_1", 32, 24, blocks::q5_1_to_float, nearest_blocks<Type::kQ5_1>},
    GgmlFormat{Type::kQ8_0, "Q8_0", 32, 34, blocks::q8_0_to_float, blocks::q8_0_from_float},
    GgmlFormat{Type::kQ2_K, "Q2_K", 256, 84, blocks::q2_k_to_float, nullptr},
    GgmlFormat{Type::kQ3_K, "Q3_K", 256, 110, blocks::q3_k_to_float, nullptr},
    GgmlFormat{Type::kQ4_K, "Q4_K", 256, 144, blocks::q4_k_to_float, nearest_blocks<Type::kQ4_K>},
    GgmlFormat{Type::kQ5_K, "Q5_K", 256, 176, blocks::q5_k_to_float, nullptr},
    GgmlFormat{Type::kQ6_K, "Q6_K", 256, 210, blocks::q6_k_to_float, nullptr},
    GgmlFormat{Type::kIQ2_XXS, "IQ2_XXS", 256, 66, nullptr, nullptr},
    GgmlFormat{Type::kIQ2_XS, "IQ2_XS", 256, 74, nullptr, nullptr},
    GgmlFormat{Type::kIQ3_XXS, "IQ3_XXS", 256, 98, nullptr, nullptr},
    GgmlFormat{Type::kIQ1_S, "IQ1_S", 256, 50, nullptr, nullptr},
    GgmlFormat{Type::kIQ4_NL, "IQ4_NL", 32, 18, nullptr, nullptr},
    GgmlFormat{Type::kIQ3_S, "IQ3_S", 256, 110, nullptr, nullptr},
    GgmlFormat{Type::kIQ2_S, "IQ2_S", 256, 82, nullptr, nullptr},
    GgmlFormat{Type::kIQ4_XS, "IQ4_XS", 256, 136, nullptr, nullptr},
    GgmlFormat{Type::kI8, "I8", 1, 1, number_to_float<int8_t>, nullptr},
    GgmlFormat{Type::kI16, "I16", 1, 2, number_to_float<int16_t>, nullptr},
    GgmlFormat{Type::kI32, "I32", 1, 4, number_to_float<int32_t>, nullptr},
    GgmlFormat{Type::kI64, "I64", 1, 8, number_to_float<int64_t>, nullptr},
    GgmlFormat{Type::kF64, "F64", 1, 8, number_to_float<double>, nullptr},
    GgmlFormat{Type::kIQ1_M, "IQ1_M", 256, 56, nullptr, nullptr},
    GgmlFormat{Type::kBF16, "BF16", 1, 2, bits_to_float<bfloat16_to_float>,
               bits_from_float<float_to_bfloat16>},
    GgmlFormat{Type::kTQ1_0, "TQ1_0", 256, 54, nullptr, nullptr},
    GgmlFormat{Type::kTQ2_0, "TQ2_0", 256, 66, nullptr, nullptr},
    GgmlFormat{Type::kMXFP4, "MXFP4", 32, 17, blocks::mxfp4_to_float, nullptr},
};

// Number of blocks that hold `values`.
int64_t check_sizes(const GgmlFormat& format, size_t values, size_t bytes) {
  const auto count = static_cast<int64_t>(values) / format.block_size;
  if (static_cast<int64_t>(values) != count * format.block_size ||
      static_cast<int64_t>(bytes) != count * format.block_bytes) {
    fail("{} bytes cannot hold {} values as {}: a block has {} values in {} bytes", bytes, values,
         format.name, format.block_size, format.block_bytes);
  }
  return count;
}

void check_values(const GgmlFormat& format, std::span<const float> values) {
  const auto fits = [](float value) { return std::abs(value) <= kLargestHalf; };
  const auto bad = std::find_if_not(values.begin(), values.end(), fits);
  if (bad != values.end()) {
    fail("the value {} cannot be stored as {}: it must be finite and at most {}", *bad, format.name,
         kLargestHalf);
  }
}

}  // namespace

std::span<const GgmlFormat> ggml_formats() { return kFormats; }

const GgmlFormat* find_ggml_format(uint32_t type) {
  for (const GgmlFormat& format : kFormats) {
    if (static_cast<uint32_t>(format.type) == type) return &format;
  }
  return nullptr;
}

const GgmlFormat* find_ggml_format(std::string_view name) {
  const auto equal = [](char a, char b) {
    return a == std::toupper(static_cast<unsigned char>(b));
  };
  for (const GgmlFormat& format : kFormats) {
    if (std::ranges::equal(format.name, name, equal)) return &format;
  }
  return nullptr;
}

const GgmlFormat& ggml_format(GgmlType type) {
  const GgmlFormat* const format = find_ggml_format(static_cast<uint32_t>(type));
  if (!format) fail("GGUF type {} is not known", static_cast<uint32_t>(type));
  return *format;
}

void dequantise(GgmlType type, std::span<const std::byte> blocks, std::span<float> values) {
  const GgmlFormat& format = ggml_format(type);
  if (!format.to_float) fail("{} cannot be decoded", format.name);
  const int64_t count = check_sizes(format, values.size(), blocks.size());
  format.to_float(reinterpret_cast<const uint8_t*>(blocks.data()), values.data(), count);
}

void quantise(GgmlType type, std::span<const float> values, std::span<std::byte> blocks) {
  const GgmlFormat& format = ggml_format(type);
  if (!format.from_float) fail("{} cannot be produced", format.name);
  const int64_t count = check_sizes(format, values.size(), blocks.size());
  if (type != GgmlType::kF32 && type != GgmlType::kBF16) check_values(format, values);
  format.from_float(values.data(), reinterpret_cast<uint8_t*>(blocks.data()), count);
}

}  // namespace continuo
