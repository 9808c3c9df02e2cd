#include "generate/weight_choice.h"

#include <array>

namespace continuo {

std::span<const EnumName> enum_names(WeightChoice) {
  static constexpr std::array kNames = {
      EnumName{"auto", static_cast<int>(WeightChoice::kAuto)},
      EnumName{"fp32", static_cast<int>(WeightChoice::kFloat32)},
      EnumName{"bf16", static_cast<int>(WeightChoice::kBfloat16)},
      EnumName{"q8", static_cast<int>(WeightChoice::kQ8)},
      EnumName{"q4", static_cast<int>(WeightChoice::kQ4)},
  };
  return kNames;
}

std::optional<WeightFormat> chosen_format(WeightChoice choice) {
  switch (choice) {
    case WeightChoice::kAuto:
      return std::nullopt;
    case WeightChoice::kFloat32:
      return WeightFormat::f32;
    case WeightChoice::kBfloat16:
      return WeightFormat::bf16;
    case WeightChoice::kQ8:
      return WeightFormat::q8;
    case WeightChoice::kQ4:
      return WeightFormat::q4;
  }
  return std::nullopt;
}

}  // namespace continuo
