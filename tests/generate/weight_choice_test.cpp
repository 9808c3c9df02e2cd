#include "generate/weight_choice.h"

#include <gtest/gtest.h>

#include "core/config/keys.h"

namespace continuo {
namespace {

TEST(WeightChoice, EveryNameButAutoIsAFormat) {
  const auto named = [](std::string_view name) -> std::optional<WeightFormat> {
    for (const EnumName& entry : enum_names(WeightChoice{})) {
      if (entry.name == name) return chosen_format(static_cast<WeightChoice>(entry.value));
    }
    ADD_FAILURE() << name << " is no choice";
    return std::nullopt;
  };
  EXPECT_EQ(named("auto"), std::nullopt);
  EXPECT_EQ(named("fp32"), WeightFormat::f32);
  EXPECT_EQ(named("bf16"), WeightFormat::bf16);
  EXPECT_EQ(named("q8"), WeightFormat::q8);
  EXPECT_EQ(named("q4"), WeightFormat::q4);
  EXPECT_EQ(enum_names(WeightChoice{}).size(), 5u);
}

}  // namespace
}  // namespace continuo
