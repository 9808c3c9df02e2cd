#include <algorithm>

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
                         testing::Values("gpt2", "smollm2", "llama3", "qwen2", "llama2", "gemma"),
                         [](const auto& name) { return std::string(name.param); });

// As Gemma's runs of spaces are: pieces of the vocabulary, but found before pieces are made.
TEST(GgufVocabulary, AddedTokensThatAreAlsoPiecesStayAdded) {
  for (const std::string name : {"gemma", "smollm2"}) {
    SCOPED_TRACE(name);
    nlohmann::json document = nlohmann::json::parse(test::golden_json(name));
    const HfTokenizer& plain = test::golden_tokenizer(name);
    const auto lower = [](unsigned char c) { return c >= 'a' && c <= 'z'; };
    TokenId longest = 0;
    for (TokenId id = 0; id < plain.size(); ++id) {
      const std::string& piece = plain.piece(id);
      if (std::ranges::all_of(piece, lower) &&
          (longest == 0 || piece.size() > plain.piece(longest).size()))
        longest = id;
    }
    const std::string piece = plain.piece(longest);
    ASSERT_GT(piece.size(), 2U);
    document["added_tokens"].push_back({{"id", longest},
                                        {"content", piece},
                                        {"single_word", false},
                                        {"lstrip", false},
                                        {"rstrip", false},
                                        {"normalized", false},
                                        {"special", false}});
    const HfTokenizer original(document.dump());
    const auto back = make_gguf_tokenizer(gguf_vocabulary(original), "model.gguf");
    int differ = 0;
    for (char before = 'a'; before <= 'z'; ++before) {
      const std::string text = before + piece + " " + piece + before;
      EXPECT_EQ(back->encode(text), original.encode(text)) << text;
      differ += original.encode(text) != plain.encode(text);
    }
    EXPECT_GT(differ, 0);
  }
}

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
