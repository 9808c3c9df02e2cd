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

std::span<const EnumName> enum_names(CacheChoice) {
  static constexpr std::array kNames = {
      EnumName{"auto", static_cast<int>(CacheChoice::kAuto)},
      EnumName{"fp32", static_cast<int>(CacheChoice::kFloat32)},
      EnumName{"bf16", static_cast<int>(CacheChoice::kBfloat16)},
      EnumName{"q8", static_cast<int>(CacheChoice::kQ8)},
  };
  return kNames;
}

std::optional<KVFormat> chosen_format(CacheChoice choice) {
  switch (choice) {
    case CacheChoice::kAuto:
      return std::nullopt;
    case CacheChoice::kFloat32:
      return KVFormat::f32;
    case CacheChoice::kBfloat16:
      return KVFormat::bf16;
    case CacheChoice::kQ8:
      return KVFormat::q8;
  }
  return std::nullopt;
}

ExecutorOptions executor_options(at::ScalarType dtype, WeightChoice weights, CacheChoice cache) {
  const bool narrow = dtype == at::kBFloat16;
  ExecutorOptions options = {.weights = chosen_format(weights).value_or(
                                 narrow ? WeightFormat::bf16 : WeightFormat::blocks),
                             .cache = chosen_format(cache)};
  if (narrow && !options.cache) options.cache = KVFormat::bf16;
  return options;
}

}  // namespace continuo
