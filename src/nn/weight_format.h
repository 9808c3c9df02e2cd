// The formats in which a model's weights can be served: what a user chooses among. How they lie in
// memory is the business of whoever serves them (nn/cpu/packed_matrix.h). `blocks`: what files hold
// in quantised blocks, as it is, multiplied as q8 and q4 are; fp32 what they do not, or where no
// executor does that.
#pragma once

#include <string_view>

namespace continuo {

enum class WeightFormat { f32, bf16, q8, q4, blocks };

constexpr bool is_quantised(WeightFormat format) {
  return format == WeightFormat::q8 || format == WeightFormat::q4;
}

// Whether what lies in no quantised block is float32.
constexpr bool is_float32(WeightFormat format) {
  return format == WeightFormat::f32 || format == WeightFormat::blocks;
}

// Of a quantised weight.
constexpr int bits_of(WeightFormat format) { return format == WeightFormat::q8 ? 8 : 4; }

constexpr std::string_view name(WeightFormat format) {
  constexpr std::string_view kNames[] = {"fp32", "bf16", "q8", "q4", "blocks"};
  return kNames[static_cast<int>(format)];
}

// The quantised blocks that files hold, by ggml's names. A weight is scale · code − minimum; 32 of
// a row, or 16 in q6_k, share these.
enum class BlockFormat { q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k };

constexpr std::string_view name(BlockFormat format) {
  constexpr std::string_view kNames[] = {"q4_0", "q4_1", "q5_0", "q5_1",
                                         "q8_0", "q4_k", "q5_k", "q6_k"};
  return kNames[static_cast<int>(format)];
}

}  // namespace continuo
