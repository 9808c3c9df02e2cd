#include "text/tokenizer/regex_dialect.h"

#include <gtest/gtest.h>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

TEST(RegexDialect, WhatIsTheSameStays) {
  for (const char* pattern : {"a|b*", "(?:ab)+?", "[^a-z]", "(?i:x)", "(?=a)(?!b)(?<=c)(?<!d)",
                              "a{2,3}", "\\p{L}\\P{Nd}", "(?>a)", "\u00e9"}) {
    EXPECT_EQ(pcre2_pattern(pattern), pattern);
  }
}

TEST(RegexDialect, WhatDiffersIsRewritten) {
  EXPECT_EQ(pcre2_pattern("\\d"), "\\p{Nd}");
  EXPECT_EQ(pcre2_pattern("a{,3}"), "a{0,3}");
  EXPECT_EQ(pcre2_pattern("a{x}"), "a\\{x}");
  EXPECT_EQ(pcre2_pattern("a{2}+"), "(?:a{2})+");
  EXPECT_EQ(pcre2_pattern("\\u00E9"), "\\x{E9}");
  EXPECT_EQ(pcre2_pattern("[a[bc]]"), "[abc]");
  EXPECT_NE(pcre2_pattern("\\s").find("\\x{3000}"), std::string::npos);
}

TEST(RegexDialect, WhatHasNoEqualIsRefused) {
  for (const char* pattern :
       {"(?P<n>a)",    "(?#x)",   "(*FAIL)", "\\G",   "\\1",         "\\K",     "[a&&b]",
        "[[:alpha:]]", "[a[^b]]", "a(?i)b",  "\\xE9", "\\x{110000}", "\\u12",   "(a",
        "a)",          "[a",      "\\",      "\\p",   "\\p{",        "[\\S\\W]"}) {
    EXPECT_NE(test::error_of([&] { pcre2_pattern(pattern); }), "(no error)") << pattern;
  }
  EXPECT_NE(test::error_of([] { pcre2_pattern("a\xFF"); }).find("not UTF-8"), std::string::npos);
}

TEST(RegexDialect, SizeAndDepthAreBounded) {
  auto fault = [](const std::string& pattern) {
    return test::error_of([&] { pcre2_pattern(pattern); });
  };
  EXPECT_NE(fault(std::string(200, '(') + std::string(200, ')')).find("too deep"),
            std::string::npos);
  EXPECT_NE(fault("a" + std::string(60, '[')).find("too deep"), std::string::npos);
  EXPECT_NE(fault(std::string(70'000, '{')).find("longer than"), std::string::npos);
}

}  // namespace
}  // namespace continuo
