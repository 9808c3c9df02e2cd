#include "text/tokenizer/post_processor.h"

#include <gtest/gtest.h>

#include "text/tokenizer/golden_tokenizers.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using Json = nlohmann::json;
using Names = std::vector<std::string>;

TEST(PostProcessor, IsReadAsItIsWritten) {
  const SurroundingTokens tokens = surrounding_tokens(bos_post_processor("<s>", 1));
  EXPECT_EQ(tokens.before, Names{"<s>"});
  EXPECT_EQ(tokens.behind, Names{});
}

TEST(PostProcessor, FindsTemplatesInSequences) {
  const Json both = Json::parse(R"({"type": "TemplateProcessing", "single": [
      {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
      {"SpecialToken": {"id": "</s>", "type_id": 0}}]})");
  const Json nested = {{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, both}}};
  for (const Json& processor : {both, nested}) {
    EXPECT_EQ(surrounding_tokens(processor).before, Names{"<s>"});
    EXPECT_EQ(surrounding_tokens(processor).behind, Names{"</s>"});
  }
}

TEST(PostProcessor, WhatIsNotUnderstoodSaysNothing) {
  for (const char* text : {"null", "3", "[]", "{}", R"({"type": "ByteLevel"})", R"({"type": 3})",
                           R"({"type": "TemplateProcessing", "single": [3]})",
                           R"({"type": "TemplateProcessing", "single": [{"SpecialToken": 3}]})",
                           R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {}}]})"}) {
    EXPECT_EQ(surrounding_tokens(Json::parse(text)).before, Names{}) << text;
  }
}

TEST(PostProcessor, OfAFilePassesTheVocabularyOver) {
  const test::TempDir directory;
  const auto of = [&](const std::string& content) {
    return surrounding_tokens(directory.write("tokenizer.json", content)).before;
  };
  Json document = test::tiny_tokenizer();
  EXPECT_EQ(of(document.dump()), Names{});
  document["post_processor"] = bos_post_processor("<s>", 4);
  EXPECT_EQ(of(document.dump()), Names{"<s>"});
  EXPECT_EQ(of("[1, 2]"), Names{});
  EXPECT_NE(test::error_of([&] { of("{"); }).find("tokenizer.json: is not JSON"),
            std::string::npos);
}

}  // namespace
}  // namespace continuo
