#include "text/tokenizer/unigram_model.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

std::vector<TokenId> unigram_ids(const UnigramModel& model, std::string_view word) {
  std::vector<TokenId> ids;
  model.encode(word, ids);
  return ids;
}

TEST(UnigramModel, FindsTheGreatestSum) {
  std::mt19937 random(6);
  std::vector<std::string> symbols = {"a", "b", "ab", "ba", "aba", "bb", "abb", "baab"};
  std::vector<double> scores;
  for (size_t i = 0; i < symbols.size(); ++i) {
    scores.push_back(-1 - static_cast<double>(random() % 1000) / 100);
  }
  UnigramModel model({.symbols = symbols, .scores = scores});
  auto best_sum = [&](auto&& self, std::string_view rest) -> double {
    if (rest.empty()) return 0;
    double best = -1e9;
    for (size_t i = 0; i < symbols.size(); ++i) {
      if (!rest.starts_with(symbols[i])) continue;
      best = std::max(best, scores[i] + self(self, rest.substr(symbols[i].size())));
    }
    return best;
  };
  for (int i = 0; i < 200; ++i) {
    std::string word, spelled;
    for (size_t n = random() % 12; n > 0; --n) word += random() % 2 ? 'a' : 'b';
    double sum = 0;
    for (TokenId id : unigram_ids(model, word)) {
      spelled += symbols[static_cast<size_t>(id)];
      sum += scores[static_cast<size_t>(id)];
    }
    ASSERT_EQ(spelled, word);
    ASSERT_NEAR(sum, best_sum(best_sum, word), 1e-9) << word;
  }
}

TEST(UnigramModel, UnknownCharactersAreTakenTogether) {
  UnigramModel model({.symbols = {"<unk>", "a"}, .scores = {0, -1}, .unknown = 0});
  EXPECT_EQ(unigram_ids(model, "xya\u00e9"), (std::vector<TokenId>{0, 1, 0}));
  EXPECT_TRUE(unigram_ids(model, "").empty());
}

TEST(UnigramModel, OrTheirBytes) {
  UnigramVocabulary vocabulary{.symbols = {"<unk>", "a", ""}, .scores = {0, -1, -2}, .unknown = 0};
  vocabulary.byte_ids.assign(256, 2);
  UnigramModel model(vocabulary);
  EXPECT_EQ(unigram_ids(model, "a\u00e9"), (std::vector<TokenId>{1, 2, 2}));
  EXPECT_EQ(model.byte_id(0), 2);
}

TEST(UnigramModel, WithoutAnUnknownTokenTheyAreErrors) {
  UnigramModel model({.symbols = {"a"}, .scores = {-1}});
  EXPECT_NE(test::error_of([&] { unigram_ids(model, "ab"); }).find("no token for 'b'"),
            std::string::npos);
}

}  // namespace
}  // namespace continuo
