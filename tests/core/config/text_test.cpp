#include "core/config/text.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(ConfigText, IntegersAreExactOrNothing) {
  EXPECT_EQ(parse_integer("12"), 12);
  EXPECT_EQ(parse_integer("-3"), -3);
  EXPECT_EQ(parse_integer("1e6"), 1000000);
  EXPECT_EQ(parse_integer("9223372036854775807"), std::numeric_limits<int64_t>::max());
  for (const char* bad : {"", "x", "1.5", "1e-1", "9223372036854775808", "1e30", "12 ", "0x"}) {
    EXPECT_EQ(parse_integer(bad), std::nullopt) << bad;
  }
}

TEST(ConfigText, RealsKnowInfinityButNotNan) {
  EXPECT_EQ(parse_real("3e-4"), 3e-4);
  EXPECT_EQ(parse_real("-.inf"), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(parse_real("inf"), std::numeric_limits<double>::infinity());
  for (const char* bad : {"", "nan", ".nan", "1e999", "1,5", "1 2"}) {
    EXPECT_EQ(parse_real(bad), std::nullopt) << bad;
  }
}

TEST(ConfigText, SpelledRealsReadBackExactly) {
  for (const double x : {0.1, 1e-300, 1.0 / 3, -2.0, 6.02214076e23, 5e-324,
                         std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(parse_real(spell_real(x)), x) << spell_real(x);
  }
}

TEST(ConfigText, SpelledStringsReadBackAsTheSameText) {
  for (const std::string text : {"plain", "", "yes", "12", "null", "a: b", "# no comment",
                                 "\n\t\"\\", " lead", "{x}", "é", "\x01\x7f"}) {
    const ConfigNode root = parse_yaml("key: " + spell_string(text) + "\n", "t.yaml");
    const ConfigNode* node = root.find("key");
    ASSERT_NE(node, nullptr);
    EXPECT_EQ(node->scalar, text) << spell_string(text);
    EXPECT_TRUE(node->kind != ConfigNode::Kind::kNull) << spell_string(text);
  }
}

TEST(ConfigText, KeysSplitAndJoin) {
  EXPECT_EQ(split_key("a.b.0"), (std::vector<std::string>{"a", "b", "0"}));
  EXPECT_EQ(split_key("bias.\"a.b\""), (std::vector<std::string>{"bias", "a.b"}));
  EXPECT_EQ(join_key("bias", "a.b"), "bias.\"a.b\"");
  for (const char* bad : {"", ".", "a..b", "a.", "a.\"b"})
    EXPECT_EQ(split_key(bad), std::nullopt) << bad;
}

TEST(ConfigText, RangesAreSpelledAsIntervals) {
  EXPECT_EQ(spell_range({}), "");
  EXPECT_EQ(spell_range(Range::positive()), "> 0");
  EXPECT_EQ(spell_range(Range::between(0, 1)), "in [0, 1]");
}

TEST(ConfigText, ChildrenOfMapsAndLists) {
  const ConfigNode root = parse_yaml("a: [x, y]", "t.yaml");
  const ConfigNode* list = child_of(root, "a");
  ASSERT_NE(list, nullptr);
  EXPECT_EQ(child_of(*list, "1")->scalar, "y");
  EXPECT_EQ(child_of(*list, "2"), nullptr);
  EXPECT_EQ(child_of(*list, "x"), nullptr);
  EXPECT_EQ(child_of(root, "b"), nullptr);
}

}  // namespace
}  // namespace continuo
