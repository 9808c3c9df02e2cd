#include <gtest/gtest.h>

#include "text/tokenizer/gguf_tokenizer.h"
#include "text/tokenizer/golden_tokenizers.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

class GgufVocabularyTest : public testing::TestWithParam<const char*> {};

TEST_P(GgufVocabularyTest, GivesTheIdsOfTheTokenizerItDescribes) {
  const HfTokenizer& original = test::golden_tokenizer(GetParam());
  const GgufVocabulary vocabulary = gguf_vocabulary(original);
  ASSERT_EQ(static_cast<int64_t>(vocabulary.tokens.size()), original.size());
  const auto back = make_gguf_tokenizer(vocabulary, "model.gguf");
  for (const std::string& text : test::golden_texts()) {
    EXPECT_EQ(back->encode(text), original.encode(text)) << text;
  }
  for (TokenId id = 0; id < original.size(); ++id) {
    EXPECT_EQ(back->is_special(id), original.is_special(id)) << original.piece(id);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, GgufVocabularyTest,
                         testing::Values("gpt2", "smollm2", "llama3", "qwen2", "llama2"),
                         [](const auto& name) { return std::string(name.param); });

TEST(GgufVocabulary, TokenizersWithoutACounterpartAreRefused) {
  EXPECT_NE(
      test::error_of([] { gguf_vocabulary(test::golden_tokenizer("unigram")); }).find("Unigram"),
      std::string::npos);
  EXPECT_NE(test::error_of([] {
              gguf_vocabulary(test::golden_tokenizer("behaviors"));
            }).find("pre_tokenizer"),
            std::string::npos);
}

}  // namespace
}  // namespace continuo
