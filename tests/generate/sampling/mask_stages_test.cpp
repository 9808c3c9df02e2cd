// logit_bias, banned_words, min_new_tokens.
#include "support/expect_error.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

using Ids = std::vector<TokenId>;

Ids missing(const Row& after) {
  Ids ids;
  for (TokenId id = 0; id < 30; ++id) {
    if (!after.count(id)) ids.push_back(id);
  }
  return ids;
}

TEST(LogitBias, AddsAndForbids) {
  const Row after = apply_chain("[{logit_bias: {ids: {0: 1.5, 7: -2, 8: -inf}}}]", letters());
  EXPECT_EQ(after.at(0), 1.5);
  EXPECT_EQ(after.at(7), -2);
  EXPECT_EQ(missing(after), (Ids{8}));
}

TEST(LogitBias, TextBiasesEveryTokenOfItOnce) {
  const Row after =
      apply_chain("[{logit_bias: {ids: {3: 1}, text: {dedf: 2, f: 0.5}}}]", letters());
  EXPECT_EQ(after.at(3), 3);
  EXPECT_EQ(after.at(4), 2);
  EXPECT_EQ(after.at(5), 2.5);
}

TEST(LogitBias, NamesFaultyEntries) {
  expect_error([] { apply_chain("[{logit_bias: {ids: {hello: 1}}}]", letters()); },
               {"logit_bias", "\"hello\" is not a token id", "text:"});
  expect_error([] { apply_chain("[{logit_bias: {ids: {100000: 1}}}]", letters()); },
               {"token id 100000 is not in the vocabulary of 100000 tokens"});
  expect_error([] { apply_chain("[{logit_bias: {ids: {-1: 1}}}]", letters()); }, {"token id -1"});
  expect_error([] { apply_chain("[{logit_bias: {ids: {3: inf}}}]", letters()); },
               {"must be finite or -inf"});
  expect_error([] { apply_chain("[{logit_bias: {text: {\"\": 1}}}]", letters()); }, {"no tokens"});
  expect_error([] { apply_chain("[{logit_bias: 3}]", letters()); }, {"takes no single value"});
}

TEST(BannedWords, BansSingleTokensAlways) {
  EXPECT_EQ(missing(apply_chain("[{banned_words: [f]}]", letters())), (Ids{5}));
  EXPECT_EQ(missing(apply_chain("[{banned_words: f}]", letters())), (Ids{5}));
  EXPECT_EQ(missing(apply_chain("[{banned_words: {ids: [0, 1, 9]}}]", letters())), (Ids{0, 1, 9}));
}

TEST(BannedWords, ActsOnTheLastTokenOnceThePrefixStands) {
  const std::string yaml = "[{banned_words: [dge]}]";
  EXPECT_EQ(missing(apply_chain(yaml, letters(), {})), Ids{});
  EXPECT_EQ(missing(apply_chain(yaml, letters(), {3})), Ids{});
  EXPECT_EQ(missing(apply_chain(yaml, letters(), {3, 6})), (Ids{4}));
  EXPECT_EQ(missing(apply_chain(yaml, letters(), {20, 3, 6}, 3)), (Ids{4}));
  EXPECT_EQ(missing(apply_chain(yaml, letters(), {3, 6, 20})), Ids{});
}

TEST(BannedWords, NamesFaultyEntries) {
  expect_error([] { apply_chain("[{banned_words: [\"\"]}]", letters()); }, {"a word is empty"});
  expect_error([] { apply_chain("[{banned_words: [\"ABC\"]}]", letters()); },
               {"\"ABC\" has no tokens"});
  expect_error([] { apply_chain("[{banned_words: {ids: [100000]}}]", letters()); }, {"100000"});
}

TEST(MinNewTokens, ForbidsTheEndUntilThen) {
  const std::string yaml = "[{min_new_tokens: 2}]";
  EXPECT_EQ(missing(apply_chain(yaml, letters(), {5, 5, 5}, 3)), (Ids{1}));
  EXPECT_EQ(missing(apply_chain(yaml, letters(), {5, 5, 5}, 2)), (Ids{1}));
  EXPECT_EQ(missing(apply_chain(yaml, letters(), {5, 5, 5}, 1)), Ids{});
}

TEST(Masks, AStageThatEmptiesTheRowNamesItself) {
  const Row few{{1, 0.}, {5, 0.}};
  expect_error([&] { apply_chain("[{min_new_tokens: 1}]", {{1, 0.}}); },
               {"the stage min_new_tokens left no token to draw"});
  expect_error([&] { apply_chain("[{banned_words: {ids: [1, 5]}}]", few); },
               {"the stage banned_words left no token"});
  expect_error([&] { apply_chain("[{logit_bias: {ids: {1: -inf, 5: -inf}}}]", few); },
               {"the stage logit_bias left no token"});
  expect_error([&] { apply_chain("[{top_k: 1}, {no_repeat_ngram: 1}]", {{5, 1.}, {6, 0.}}, {5}); },
               {"the stage no_repeat_ngram left no token"});
}

}  // namespace
}  // namespace continuo::test
