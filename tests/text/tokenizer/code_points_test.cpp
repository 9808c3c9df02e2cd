#include "text/tokenizer/code_points.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(CodePoints, FirstAndLast) {
  std::string text = "a\u00e9\u20ac\U0001f642";
  EXPECT_EQ(first_code_point(text).value, 'a');
  EXPECT_EQ(first_code_point(text.substr(1)).value, 0xE9u);
  EXPECT_EQ(first_code_point(text.substr(1)).length, 2u);
  EXPECT_EQ(first_code_point(text.substr(3)).value, 0x20ACu);
  EXPECT_EQ(last_code_point(text).value, 0x1F642u);
  EXPECT_EQ(last_code_point(text).length, 4u);
  EXPECT_EQ(last_code_point("a").value, 'a');
}

TEST(CodePoints, Properties) {
  EXPECT_TRUE(is_ascii("plain\x7F"));
  EXPECT_FALSE(is_ascii("\u00e9"));
  for (uint32_t c : {0x9u, 0x20u, 0x85u, 0xA0u, 0x1680u, 0x2003u, 0x2028u, 0x3000u}) {
    EXPECT_TRUE(is_white_space(c)) << c;
  }
  for (uint32_t c : {0x8u, 0x180Eu, 0x200Bu, 0xFEFFu}) EXPECT_FALSE(is_white_space(c)) << c;
  for (uint32_t c : {0x30u, 0xBDu, 0x663u, 0x2167u, 0x1D7D8u}) EXPECT_TRUE(is_numeric(c)) << c;
  EXPECT_FALSE(is_numeric('a'));
  for (uint32_t c : {0x61u, 0x5Fu, 0xE9u, 0x301u, 0x24B6u, 0x200Du}) EXPECT_TRUE(is_word(c)) << c;
  for (uint32_t c : {0x2Du, 0x20u, 0xBDu, 0x20ACu}) EXPECT_FALSE(is_word(c)) << c;
}

TEST(CodePoints, CharactersOfUnicode16HaveTheirProperties) {
  EXPECT_TRUE(is_numeric(0x10D40));  // Garay digit zero
  EXPECT_TRUE(is_word(0x10D50));     // Garay capital letter
  EXPECT_TRUE(is_word(0x323AF));     // Han, extension H
  EXPECT_FALSE(is_word(0x1FAE8));    // an emoji
}

TEST(CodePoints, OlderCharactersStandInWithTheSameLength) {
  EXPECT_EQ(with_older_characters("plain \u00e9 \U0001f642"), std::nullopt);
  std::string text = "a\U00010D40b\u1C89c";
  auto older = with_older_characters(text);
  ASSERT_TRUE(older);
  EXPECT_EQ(older->size(), text.size());
  EXPECT_EQ(*older, "a\U000104A0b\u1E00c");
}

TEST(CodePoints, NormalFormsEndWithUnicode9) {
  for (uint32_t c : {0x8D4u, 0x1D15Eu, 0x301u, 0xE9u})
    EXPECT_FALSE(later_than_normal_forms(c)) << c;
  for (uint32_t c : {0x898u, 0x32FFu, 0x10F46u, 0x1F16Cu, 0x1FBF9u, 0x10EFDu, 0x1E030u}) {
    EXPECT_TRUE(later_than_normal_forms(c)) << c;
  }
}

}  // namespace
}  // namespace continuo
