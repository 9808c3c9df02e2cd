#include "core/utf8.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(Utf8, FindsTheFirstInvalidByte) {
  EXPECT_EQ(find_invalid_utf8(""), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("aé€😀\xF4\x8F\xBF\xBF"), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("ab\xff"), 2u);
  EXPECT_EQ(find_invalid_utf8("\x80"), 0u);              // continuation byte alone
  EXPECT_EQ(find_invalid_utf8("a\xC0\xAF"), 1u);         // overlong
  EXPECT_EQ(find_invalid_utf8("\xE0\x9F\xBF"), 0u);      // overlong
  EXPECT_EQ(find_invalid_utf8("\xF0\x8F\xBF\xBF"), 0u);  // overlong
  EXPECT_EQ(find_invalid_utf8("\xED\xA0\x80"), 0u);      // surrogate
  EXPECT_EQ(find_invalid_utf8("\xF4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(find_invalid_utf8("\xF5\x80\x80\x80"), 0u);
  EXPECT_EQ(find_invalid_utf8("a\xE2\x82"), 1u);  // cut off
  EXPECT_EQ(find_invalid_utf8("a\xE2\x82z"), 1u);
}

TEST(Utf8, CompleteLengthLeavesOnlyWhatMayStillBecomeACodePoint) {
  EXPECT_EQ(complete_utf8_length(""), 0u);
  EXPECT_EQ(complete_utf8_length("abc"), 3u);
  EXPECT_EQ(complete_utf8_length("ab\xC3"), 2u);
  EXPECT_EQ(complete_utf8_length("ab\xE2\x82"), 2u);
  EXPECT_EQ(complete_utf8_length("ab\xF0\x9F\x98"), 2u);
  EXPECT_EQ(complete_utf8_length("ab😀"), 6u);
  EXPECT_EQ(complete_utf8_length("ab\x80"), 3u);  // never becomes valid
  EXPECT_EQ(complete_utf8_length("\x80\x80\x80\x80"), 4u);
  EXPECT_EQ(complete_utf8_length("\xED\xA0"), 2u);  // a surrogate never does either
  EXPECT_EQ(complete_utf8_length("\xFF"), 1u);
}

TEST(Utf8, EverySplitOfATextJoinsAgain) {
  std::string text = "a é € 😀 ü 漢字";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    std::string head = text.substr(0, cut);
    size_t complete = complete_utf8_length(head);
    EXPECT_LE(cut - complete, 3u);
    EXPECT_EQ(find_invalid_utf8(head.substr(0, complete)), std::nullopt) << cut;
    EXPECT_EQ(find_invalid_utf8(text.substr(complete)), std::nullopt) << cut;
  }
}

// Table 3-8 of the Unicode standard: one U+FFFD for each maximal subpart.
TEST(Utf8, ReplacesByMaximalSubparts) {
  const std::string r = "\uFFFD";
  EXPECT_EQ(replace_invalid_utf8("a\xF1\x80\x80\xE1\x80\xC2"
                                 "b\x80"
                                 "c\x80\xBF"
                                 "d"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(replace_invalid_utf8("x\xE2\x82"), "x" + r);
  EXPECT_EQ(replace_invalid_utf8("fine é"), "fine é");
}

}  // namespace
}  // namespace continuo
