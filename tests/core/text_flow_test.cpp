#include "core/text_flow.h"

#include <gtest/gtest.h>

#include "core/utf8.h"

namespace continuo {
namespace {

TEST(TextFlow, NeverGivesHalfACodePointForAnySplit) {
  const std::string text = "é€😀x";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    TextFlow flow;
    const std::string first = flow.push(text.substr(0, cut));
    EXPECT_EQ(find_invalid_utf8(first), std::nullopt);
    EXPECT_EQ(first, text.substr(0, first.size()));
    const std::string second = flow.push(text.substr(cut));
    EXPECT_EQ(first + second, text);
    EXPECT_EQ(flow.finish(), "");
  }
}

TEST(TextFlow, ReplacesWhatIsNoText) {
  TextFlow flow;
  EXPECT_EQ(flow.push("a\xff"
                      "b\xe2\x82"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(flow.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(flow.finish(), "");
}

TEST(TextFlow, HoldsIncompleteCodePoints) {
  TextFlow flow;
  EXPECT_EQ(flow.push("\xF0"), "");
  EXPECT_EQ(flow.push("\x9F"), "");
  EXPECT_EQ(flow.push("\x99"), "");
  EXPECT_EQ(flow.push("\x82"), "🙂");
  EXPECT_EQ(flow.finish(), "");
}

TEST(TextFlow, IllFormedBytesBecomeOneReplacementEach) {
  TextFlow flow;
  EXPECT_EQ(flow.push("\xE6"), "");
  EXPECT_EQ(flow.push("\x97"), "");
  EXPECT_EQ(flow.push(" the"), "\uFFFD the");
  EXPECT_EQ(flow.push("\xFF"), "\uFFFD");
  EXPECT_EQ(flow.push("\xE6"), "");
  EXPECT_EQ(flow.push("\x97"), "");
  EXPECT_EQ(flow.finish(), "\uFFFD");
  EXPECT_EQ(flow.finish(), "");
}

}  // namespace
}  // namespace continuo
