#include "text/tokenizer/regex.h"

#include <gtest/gtest.h>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

// The matches between bars.
std::string found_matches(const Regex& regex, std::string_view text) {
  std::string shown;
  RegexMatches matches(regex, text);
  while (auto match = matches.next()) {
    shown += "|" + std::string(text.substr(match->begin, match->end - match->begin));
  }
  return shown;
}

TEST(Regex, MatchesLeftToRight) {
  EXPECT_EQ(found_matches(Regex("a+|b"), "aabxa"), "|aa|b|a");
  EXPECT_EQ(found_matches(Regex("x"), "abc"), "");
  EXPECT_EQ(found_matches(Regex("(?i:'s|'ll)"), "it'S we'LL"), "|'S|'LL");
  EXPECT_EQ(found_matches(Regex(R"(\s+(?!\S)|\s+)"), "a   b  "), "|  | |  ");
}

TEST(Regex, EmptyMatchesBehindAnotherDoNotCount) {
  EXPECT_EQ(found_matches(Regex("a*"), "baac"), "||aa|");
  EXPECT_EQ(found_matches(Regex("x?"), ""), "|");
  EXPECT_EQ(found_matches(Regex("y*"), "\u00e9"), "||");
}

TEST(Regex, Literals) {
  EXPECT_EQ(found_matches(Regex::literal("a.b"), "axb a.b"), "|a.b");
  EXPECT_EQ(found_matches(Regex::literal("(?i)[x]\\"), "(?i)[x]\\"), "|(?i)[x]\\");
  EXPECT_EQ(found_matches(Regex::literal("\u2581"), "a\u2581"), "|\u2581");
  EXPECT_EQ(found_matches(Regex::literal(std::string_view("\0", 1)), std::string_view("a\0b", 3)),
            std::string_view("|\0", 2));
}

TEST(Regex, CharactersOfUnicode16) {
  EXPECT_EQ(found_matches(Regex(R"(\p{L}+|\p{N}+)"), "a\U00010d50\U00010d40\U00010d41"),
            "|a\U00010d50|\U00010d40\U00010d41");
}

TEST(Regex, CatastrophicOnesGiveUp) {
  for (const char* pattern : {"(a+)+$", "(a|aa)+$", "(a*)*b", "(.*a){12}b", "(x+x+)+y|(a+a+)+b"}) {
    Regex regex(pattern);
    std::string text(60, 'a');
    text += '!';
    std::string message = test::error_of([&] { found_matches(regex, text); });
    bool bounded = message == "(no error)" || message.find("gives up") != std::string::npos;
    EXPECT_TRUE(bounded) << message;
  }
  std::string message =
      test::error_of([] { found_matches(Regex("(a|b|ab)*c"), std::string(300'000, 'a')); });
  EXPECT_TRUE(message == "(no error)" || message.find("gives up") != std::string::npos) << message;
}

TEST(Regex, FaultsSayWhatIsWrong) {
  auto fault = [](const std::string& pattern) { return test::error_of([&] { Regex{pattern}; }); };
  EXPECT_NE(fault("[b-a]").find("does not compile"), std::string::npos);
  EXPECT_NE(fault("(").find("an open group"), std::string::npos);
  EXPECT_NE(fault("*").find("does not compile"), std::string::npos);
  EXPECT_NE(fault("\\p{Nonsense}").find("does not compile"), std::string::npos);
  EXPECT_NE(fault("(((a{1,500}){1,500}){1,500}){1,500}").find("does not compile"),
            std::string::npos);
}

}  // namespace
}  // namespace continuo
