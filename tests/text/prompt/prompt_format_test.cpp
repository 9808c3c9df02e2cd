#include "text/prompt/prompt_format.h"

#include <gtest/gtest.h>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::error_of;
using Kind = FormatPart::Kind;
using Parts = std::vector<FormatPart>;

Parts parse(std::string_view format, std::vector<std::string> specials = {}) {
  return parse_format(format, specials, "prompt");
}

TEST(PromptFormat, FieldsLiteralsBraces) {
  EXPECT_EQ(parse("Q: {question}\n"),
            (Parts{{Kind::kLiteral, "Q: "}, {Kind::kField, "question"}, {Kind::kLiteral, "\n"}}));
  EXPECT_EQ(parse("{{\"a\": {x}}}"),
            (Parts{{Kind::kLiteral, "{\"a\": "}, {Kind::kField, "x"}, {Kind::kLiteral, "}"}}));
  EXPECT_EQ(parse("{a}{b}{a}"),
            (Parts{{Kind::kField, "a"}, {Kind::kField, "b"}, {Kind::kField, "a"}}));
  EXPECT_TRUE(parse("").empty());
  EXPECT_EQ(field_names(parse("{a}{b}{a}")), (std::vector<std::string>{"a", "b"}));
}

TEST(PromptFormat, SpecialsTheLongestFirst) {
  EXPECT_EQ(parse("<|u|>x<|u|>b", {"<|u|>", "<|u|>b"}),
            (Parts{{Kind::kSpecial, "<|u|>"}, {Kind::kLiteral, "x"}, {Kind::kSpecial, "<|u|>b"}}));
  EXPECT_EQ(parse("<s>{a}", {"<s>"}), (Parts{{Kind::kSpecial, "<s>"}, {Kind::kField, "a"}}));
  EXPECT_EQ(parse("<s>", {}), (Parts{{Kind::kLiteral, "<s>"}}));
}

TEST(PromptFormat, Faults) {
  auto fault = [](std::string_view format) { return error_of([&] { parse(format); }); };
  EXPECT_NE(fault("ab{c").find("prompt: '{' is not closed at character 3"), std::string::npos)
      << fault("ab{c");
  EXPECT_NE(fault("a}").find("'}' closes nothing at character 2"), std::string::npos);
  EXPECT_NE(fault("{a{b}").find("'{' is not closed"), std::string::npos);
  EXPECT_NE(fault("{}").find("without a name"), std::string::npos);
  EXPECT_NE(fault("{a b}").find("white space"), std::string::npos);
  EXPECT_NE(fault("hi <|user|>").find("'<|user|>' looks like a special token"), std::string::npos);
  EXPECT_EQ(parse("a <| b |> c").size(), 1u);
}

}  // namespace
}  // namespace continuo
