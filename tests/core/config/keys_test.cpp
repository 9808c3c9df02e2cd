#include "core/config/keys.h"

#include <array>

#include <gtest/gtest.h>

namespace continuo {
namespace {

enum class Shade { kDark, kPale = 7 };
std::span<const EnumName> enum_names(Shade) {
  static constexpr std::array kNames = {EnumName{"dark", static_cast<int>(Shade::kDark)},
                                        EnumName{"pale", static_cast<int>(Shade::kPale)}};
  return kNames;
}

struct Inner {
  int64_t width = 4;
};
void fields(FieldVisitor& v, Inner& c) {
  v.field("width", c.width, "How wide.", Range::at_least(1));
}

struct Outer {
  std::string name = "a";
  Shade shade = Shade::kPale;
  Inner inner;
};
void fields(FieldVisitor& v, Outer& c) {
  v.field("name", c.name, "What it is called.");
  v.required();
  v.field("shade", c.shade, "Which shade.");
  v.section("inner", c.inner, "Its inside.");
}

TEST(ConfigKeys, SayWhatHelpSays) {
  Outer defaults;
  defaults.inner.width = 9;
  const std::vector<ConfigKey> keys = config_keys(defaults);
  ASSERT_EQ(keys.size(), 4u);
  EXPECT_EQ(keys[0].key, "name");
  EXPECT_TRUE(keys[0].required);
  EXPECT_EQ(keys[1].type, "dark|pale");
  EXPECT_EQ(keys[1].value, "pale");
  EXPECT_FALSE(keys[1].required);
  EXPECT_EQ(keys[2].key, "inner");
  EXPECT_TRUE(keys[2].type.empty());
  EXPECT_EQ(keys[3].key, "inner.width");
  EXPECT_EQ(keys[3].value, "9");
  EXPECT_EQ(keys[3].help, "How wide.");
}

TEST(ConfigKeys, ValuesOfEnumsHaveTheirNames) {
  EXPECT_EQ(enum_name(Shade::kDark), "dark");
  EXPECT_EQ(enum_name(Shade::kPale), "pale");
  EXPECT_EQ(enum_name(static_cast<Shade>(3)), "");
}

}  // namespace
}  // namespace continuo
