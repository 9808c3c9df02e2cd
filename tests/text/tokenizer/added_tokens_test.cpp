#include "text/tokenizer/added_tokens.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

// "a|#3|b": text and ids between bars.
std::string split_added(const AddedTokenMatcher& matcher, std::string_view text,
                        bool specials = true) {
  std::string shown;
  for (const auto& piece : matcher.split(text, specials)) {
    if (!shown.empty()) shown += '|';
    shown += piece.id ? "#" + std::to_string(*piece.id) : std::string(piece.text);
  }
  return shown;
}

TEST(AddedTokens, LeftmostAndLongest) {
  AddedTokenMatcher matcher({{.text = "<a>", .id = 1},
                             {.text = "<a>b", .id = 2},
                             {.text = "a>", .id = 3},
                             {.text = "é", .id = 4}});
  EXPECT_EQ(split_added(matcher, "x<a>y"), "x|#1|y");
  EXPECT_EQ(split_added(matcher, "<a>bb"), "#2|b");
  EXPECT_EQ(split_added(matcher, "a><a>"), "#3|#1");
  EXPECT_EQ(split_added(matcher, "caf\u00e9!"), "caf|#4|!");
  EXPECT_EQ(split_added(matcher, "<a"), "<a");
  EXPECT_EQ(split_added(matcher, ""), "");
  EXPECT_EQ(split_added(AddedTokenMatcher(), "text"), "text");
}

TEST(AddedTokens, SpecialOnesStayTextUnlessWanted) {
  AddedTokenMatcher matcher({{.text = "<s>", .id = 1, .special = true}, {.text = "<t>", .id = 2}});
  EXPECT_EQ(split_added(matcher, "<s><t>", true), "#1|#2");
  EXPECT_EQ(split_added(matcher, "<s><t>", false), "<s>|#2");
}

TEST(AddedTokens, StripsTakeWhiteSpaceAlong) {
  AddedTokenMatcher matcher({{.text = "<l>", .id = 1, .lstrip = true},
                             {.text = "<r>", .id = 2, .rstrip = true},
                             {.text = "<b>", .id = 3, .lstrip = true, .rstrip = true}});
  EXPECT_EQ(split_added(matcher, "a \n<l> b"), "a|#1| b");
  EXPECT_EQ(split_added(matcher, "a <r>\u3000 b"), "a |#2|b");
  EXPECT_EQ(split_added(matcher, " <b> "), "#3");
  EXPECT_EQ(split_added(matcher, "<r> <l>"), "#2|#1");
  EXPECT_EQ(split_added(matcher, "<b>  <b>"), "#3|#3");
}

TEST(AddedTokens, SingleWordsStandAlone) {
  AddedTokenMatcher matcher({{.text = "tok", .id = 1, .single_word = true}});
  EXPECT_EQ(split_added(matcher, "tok tok."), "#1| |#1|.");
  EXPECT_EQ(split_added(matcher, "token"), "token");
  EXPECT_EQ(split_added(matcher, "a_tok"), "a_tok");
  EXPECT_EQ(split_added(matcher, "\u00e9tok"), "\u00e9tok");
}

TEST(AddedTokens, TheFirstOfEqualTextsCounts) {
  AddedTokenMatcher matcher({{.text = "x", .id = 7}, {.text = "x", .id = 8}});
  EXPECT_EQ(split_added(matcher, "x"), "#7");
}

}  // namespace
}  // namespace continuo
