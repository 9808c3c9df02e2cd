// The formats in which a model's weights can be served: what a user chooses among. How they lie in
// memory is the business of whoever serves them (nn/cpu/packed_matrix.h).
#pragma once

#include <string_view>

namespace continuo {

enum class WeightFormat { f32, bf16, q8, q4 };

constexpr bool is_quantised(WeightFormat format) {
  return format == WeightFormat::q8 || format == WeightFormat::q4;
}

constexpr std::string_view name(WeightFormat format) {
  constexpr std::string_view kNames[] = {"fp32", "bf16", "q8", "q4"};
  return kNames[static_cast<int>(format)];
}

}  // namespace continuo
