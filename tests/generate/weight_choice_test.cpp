#include "generate/weight_choice.h"

#include <gtest/gtest.h>

#include "core/config/keys.h"

namespace continuo {
namespace {

// What the names of `Choice` stand for.
template <class Choice>
auto format_named(std::string_view name) -> decltype(chosen_format(Choice{})) {
  for (const EnumName& entry : enum_names(Choice{})) {
    if (entry.name == name) return chosen_format(static_cast<Choice>(entry.value));
  }
  ADD_FAILURE() << name << " is no choice";
  return std::nullopt;
}

TEST(WeightChoice, EveryNameButAutoIsAFormat) {
  const auto named = format_named<WeightChoice>;
  EXPECT_EQ(named("auto"), std::nullopt);
  EXPECT_EQ(named("fp32"), WeightFormat::f32);
  EXPECT_EQ(named("bf16"), WeightFormat::bf16);
  EXPECT_EQ(named("q8"), WeightFormat::q8);
  EXPECT_EQ(named("q4"), WeightFormat::q4);
  EXPECT_EQ(enum_names(WeightChoice{}).size(), 5u);
}

TEST(CacheChoice, EveryNameButAutoIsAFormat) {
  const auto named = format_named<CacheChoice>;
  EXPECT_EQ(named("auto"), std::nullopt);
  EXPECT_EQ(named("fp32"), KVFormat::f32);
  EXPECT_EQ(named("bf16"), KVFormat::bf16);
  EXPECT_EQ(named("q8"), KVFormat::q8);
  EXPECT_EQ(enum_names(CacheChoice{}).size(), 4u);
}

TEST(ExecutorOptions, FormatsAreOfTheProductsTypeUnlessChosen) {
  EXPECT_EQ(executor_options(at::kFloat, WeightChoice::kQ8, CacheChoice::kAuto),
            ExecutorOptions{.weights = WeightFormat::q8});
  EXPECT_EQ(executor_options(at::kFloat, WeightChoice::kQ4, CacheChoice::kFloat32),
            (ExecutorOptions{.weights = WeightFormat::q4, .cache = KVFormat::f32}));
  EXPECT_EQ(executor_options(at::kBFloat16, WeightChoice::kFloat32, CacheChoice::kAuto),
            (ExecutorOptions{.weights = WeightFormat::f32, .cache = KVFormat::bf16}));
  EXPECT_EQ(executor_options(at::kFloat, WeightChoice::kAuto, CacheChoice::kAuto),
            ExecutorOptions{.weights = WeightFormat::blocks})
      << "fp32 for what is in none";
  EXPECT_EQ(executor_options(at::kBFloat16, WeightChoice::kAuto, CacheChoice::kAuto),
            (ExecutorOptions{.weights = WeightFormat::bf16, .cache = KVFormat::bf16}));
  EXPECT_EQ(executor_options(at::kBFloat16, WeightChoice::kQ4, CacheChoice::kAuto),
            (ExecutorOptions{.weights = WeightFormat::q4, .cache = KVFormat::bf16}));
  EXPECT_EQ(executor_options(at::kFloat, WeightChoice::kBfloat16, CacheChoice::kQ8),
            (ExecutorOptions{.weights = WeightFormat::bf16, .cache = KVFormat::q8}));
}

TEST(ExecutorOptions, BesideShorterWeightsKeysAndValuesAreBfloat16UnlessChosen) {
  EXPECT_EQ(cache_format({.weights = WeightFormat::f32}), KVFormat::f32);
  for (const WeightFormat format :
       {WeightFormat::bf16, WeightFormat::q8, WeightFormat::q4, WeightFormat::blocks})
    EXPECT_EQ(cache_format({.weights = format}), KVFormat::bf16) << name(format);
  EXPECT_EQ(cache_format({.weights = WeightFormat::q4, .cache = KVFormat::f32}), KVFormat::f32);
}

}  // namespace
}  // namespace continuo
