#include "text/tokenizer/pattern_field.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

const Location kPatternPlace{.file = "t.json"};

TEST(PatternField, StringsAreLiteralAndRegexesAreNot) {
  auto count = [](const nlohmann::json& pattern, std::string_view text) {
    Regex regex = read_pattern(JsonField(pattern, kPatternPlace));
    RegexMatches matches(regex, text);
    int found = 0;
    while (matches.next()) ++found;
    return found;
  };
  EXPECT_EQ(count({{"String", "."}}, "a.b."), 2);
  EXPECT_EQ(count({{"Regex", "."}}, "a.b."), 4);
}

TEST(PatternField, Faults) {
  auto fault = [](const nlohmann::json& pattern) {
    return test::error_of([&] { read_pattern(JsonField(pattern, kPatternPlace)); });
  };
  EXPECT_NE(fault({{"String", ""}}).find("String must not be empty"), std::string::npos);
  EXPECT_NE(fault({{"Regex", "["}}).find("Regex '['"), std::string::npos);
  EXPECT_NE(fault({{"Regex", 3}}).find("Regex must be a string"), std::string::npos);
  EXPECT_NE(fault(nlohmann::json::object()).find("must hold 'Regex' or 'String'"),
            std::string::npos);
  EXPECT_NE(fault("x").find("must be an object"), std::string::npos);
}

TEST(PatternField, StepsOfSequencesInOrder) {
  auto walk = [](const nlohmann::json& document) {
    std::string seen;
    for_each_step(JsonField(document, kPatternPlace), "steps",
                  [&](const JsonField&, const std::string& type) { seen += type; });
    return seen;
  };
  EXPECT_EQ(walk({{"type", "A"}}), "A");
  EXPECT_EQ(walk(nlohmann::json::parse(R"({"type": "Sequence", "steps": [{"type": "A"},
      {"type": "Sequence", "steps": [{"type": "B"}, {"type": "C"}]}, {"type": "D"}]})")),
            "ABCD");
  nlohmann::json deep = {{"type", "A"}};
  for (int i = 0; i < 40; ++i) {
    deep = {{"type", "Sequence"}, {"steps", nlohmann::json::array({deep})}};
  }
  EXPECT_NE(test::error_of([&] { walk(deep); }).find("nested too deep"), std::string::npos);
  EXPECT_NE(test::error_of([&] { walk({{"type", "Sequence"}}); }).find("has no 'steps'"),
            std::string::npos);
}

}  // namespace
}  // namespace continuo
