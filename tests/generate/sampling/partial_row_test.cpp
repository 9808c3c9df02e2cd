// Rows of which only the most probable tokens are at hand: what is drawn from them is what is drawn
// from whole rows, and where they cannot say, the whole row is asked for.
#include "core/error.h"
#include "generate/sampling/sample_row.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

std::vector<float> random_logits(uint64_t seed, size_t size) {
  std::vector<float> logits(size);
  size_t i = 0;
  for (const auto& [id, logit] : random_row(seed, size)) logits[i++] = static_cast<float>(logit);
  return logits;
}

// As a device would say it: sums in float32.
TopLogits top_of(const std::vector<float>& logits, size_t k) {
  std::vector<Candidate> all;
  long double sum = 0;
  const double max = *std::max_element(logits.begin(), logits.end());
  for (size_t i = 0; i < logits.size(); ++i) {
    all.push_back({static_cast<TokenId>(i), logits[i]});
    sum += std::exp(static_cast<long double>(logits[i] - max));
  }
  std::ranges::sort(all, ranks_before);
  const auto log_sum = static_cast<float>(max + static_cast<double>(std::log(sum)));
  TopLogits top = {.items = {},
                   .bound = all[k - 1].logit,
                   .log_sum = log_sum,
                   .raw_log_sum = log_sum,
                   .size = logits.size()};
  for (const Candidate& c : all) {
    if (c.logit > top.bound) top.items.push_back(c);
  }
  std::ranges::sort(top.items, {}, &Candidate::id);
  return top;
}

struct FirstToken {
  SampledToken token;
  int fetched = 0;
};

// The first token that a chain draws after a history, from the 64 most probable or from all.
FirstToken first_token(const std::string& yaml, const std::vector<float>& logits, uint64_t seed,
                       bool partial, const std::vector<TokenId>& history = {5, 9, 1200, 5}) {
  const Vocabulary vocabulary = small_vocabulary(std::ssize(logits));
  SamplerChain chain = make_chain(yaml, vocabulary);
  const Noise noise(seed, 0, 0);
  const TopLogits top = top_of(logits, 64);
  FirstToken first;
  const LogitRow row = {.whole =
                            [&] {
                              ++first.fetched;
                              return std::span<const float>(logits);
                            },
                        .top = partial ? &top : nullptr};
  Candidates scratch;
  first.token = sample_row(row, chain, {history, 0, vocabulary, noise}, scratch);
  return first;
}

// → how often the whole row was needed, of 60 rows.
int compared(const std::string& yaml) {
  int fetched = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const std::vector<float> logits = random_logits(seed, 2000);
    const FirstToken whole = first_token(yaml, logits, seed, false),
                     part = first_token(yaml, logits, seed, true);
    EXPECT_EQ(part.token.drawn.id, whole.token.drawn.id) << yaml << ", row " << seed;
    EXPECT_EQ(part.token.drawn.logprob, whole.token.drawn.logprob) << yaml << ", row " << seed;
    EXPECT_NEAR(part.token.raw_logprob, whole.token.raw_logprob, 2e-5) << yaml << ", row " << seed;
    EXPECT_EQ(whole.fetched, 1);
    fetched += part.fetched;
  }
  return fetched;
}

TEST(PartialRow, WhatFewTokensDecideNeedsNoOther) {
  for (const char* const chain :
       {"[greedy]", "[{top_k: 20}]", "[{temperature: 0.7}, {top_k: 40}, {top_p: 0.9}]",
        "[{top_k: 30}, {temperature: 1.5}, typical: 0.8]", "[{temperature: 0}]",
        "[{repetition: {penalty: 1.3, form: raw}}, {top_k: 10}]",
        "[{frequency: 0.4}, {presence: 0.2}, {top_k: 10}, {min_p: 0.1}]",
        "[{no_repeat_ngram: 2}, {top_k: 10}]", "[{min_new_tokens: 9}, {top_k: 10}]",
        "[dry, {top_k: 10}]", "[{logit_bias: {ids: {5: -100}}}, {top_k: 10}]"}) {
    // Where more than a few share the last logit, ties decide, and those are elsewhere.
    EXPECT_LE(compared(chain), 12) << chain;
  }
}

TEST(PartialRow, AnyChainDrawsWhatItDrawsFromTheWholeRow) {
  int fetched = 0, rows = 0;
  for (const char* const chain : {"[{top_p: 0.5}]",
                                  "[{top_p: 0.9}]",
                                  "[{temperature: 0.5}, {top_p: 0.9}]",
                                  "[{temperature: 0.8}, {top_p: 0.95}]",
                                  "[{temperature: 1.4}, {top_p: 0.6}]",
                                  "[{frequency: 0.4}, {temperature: 0.7}, {top_p: 0.9}]",
                                  "[{top_p: {p: 0.2, min_keep: 5}}]",
                                  "[{min_p: 0.1}]",
                                  "[{min_p: {p: 0.5, min_keep: 3}}, {temperature: 2}]",
                                  "[{min_p: 0.0001}]",
                                  "[{temperature: 0.4}, {min_p: 0.01}]",
                                  "[{top_k: 100}]",
                                  "[{top_k: 64}]",
                                  "[{top_k: 63}]",
                                  "[{temperature: 1}]",
                                  "[{typical: 0.7}]",
                                  "[{epsilon: 0.02}]",
                                  "[{eta: 0.02}]",
                                  "[{top_n_sigma: 1.3}]",
                                  "[{xtc: {probability: 1, threshold: 0.05}}]",
                                  "[{mirostat: 3}]",
                                  "[{repetition: 1.3}, {top_k: 5}]",
                                  "[{logit_bias: {ids: {1200: 3}}}, {top_k: 5}]",
                                  "[{temperature: {value: 1, range: 0.4}}, {top_k: 5}]"}) {
    fetched += compared(chain);
    rows += 60;
  }
  EXPECT_GT(fetched, 0);
  EXPECT_LT(fetched, rows);
}

TEST(PartialRow, AFrontOfAPeakedRowDecidesNuclei) {
  // As models are: nearly all of the probability on a few tokens.
  std::vector<float> logits = random_logits(3, 2000);
  for (size_t i = 0; i < 40; ++i) logits[i * 37] = 40 - 0.4f * static_cast<float>(i);
  for (const char* const chain : {"[{top_p: 0.9}]", "[{temperature: 0.6}, {top_p: 0.95}]",
                                  "[{temperature: 1.2}, {top_p: 0.9}]"}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const FirstToken whole = first_token(chain, logits, seed, false);
      const FirstToken part = first_token(chain, logits, seed, true);
      EXPECT_EQ(part.fetched, 0) << chain;
      EXPECT_EQ(part.token.drawn.id, whole.token.drawn.id) << chain;
    }
  }
}

TEST(PartialRow, OfEqualLogitsTheLowestIdsCountWhereverTheyAre) {
  std::vector<float> logits(500, 2.0f);
  logits[400] = 3.0f;
  for (const char* const chain : {"[greedy]", "[{top_k: 2}]", "[{top_k: 1}]", "[{min_p: 0.2}]"}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      EXPECT_EQ(first_token(chain, logits, seed, true).token.drawn.id,
                first_token(chain, logits, seed, false).token.drawn.id)
          << chain;
    }
  }
}

TEST(PartialRow, TheOnlyTokensThereAreDecideEverything) {
  std::vector<float> logits(500, -INFINITY);
  for (size_t i = 0; i < 30; ++i) logits[i * 7] = 0.1f * static_cast<float>(i);
  for (const char* const chain :
       {"[{top_k: 12}]", "[{top_p: 0.7}]", "[{temperature: 2}, {top_p: 0.7}]", "[{min_p: 0.2}]"}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const FirstToken part = first_token(chain, logits, seed, true);
      EXPECT_EQ(part.fetched, 0) << chain;
      EXPECT_EQ(part.token.drawn.id, first_token(chain, logits, seed, false).token.drawn.id)
          << chain;
    }
  }
}

TEST(PartialRow, ARowOfAnotherVocabularyIsNotReadByItsTop) {
  const std::vector<float> logits = random_logits(1, 2000);
  TopLogits top = top_of(logits, 64);
  top.size = 1999;
  const Vocabulary vocabulary = small_vocabulary(2000);
  SamplerChain chain = make_chain("[greedy]", vocabulary);
  const Noise noise(1, 0, 0);
  int fetched = 0;
  const LogitRow row = {.whole =
                            [&] {
                              ++fetched;
                              return std::span<const float>(logits);
                            },
                        .top = &top};
  Candidates scratch;
  sample_row(row, chain, {std::vector<TokenId>{5}, 0, vocabulary, noise}, scratch);
  EXPECT_EQ(fetched, 1);
}

TEST(PartialRow, WhatTheOthersMayBeIsAskedFor) {
  PartialRow row;
  row.reset({.items = {{3, 5.0}, {8, 4.0}},
             .bound = 1.0,
             .log_sum = 5.5,
             .raw_log_sum = 5.5,
             .size = 100});
  EXPECT_EQ(row.best().id, 3);
  EXPECT_EQ(row.top(2).size(), 2u);
  EXPECT_THROW(row.top(3), NeedsWholeRow);
  EXPECT_EQ(row.at_least(1.5).size(), 2u);
  EXPECT_THROW(row.at_least(1.0), NeedsWholeRow);
  EXPECT_THROW(row.nearest(5.0, 0.999, 1), NeedsWholeRow);
  const std::vector<TokenId> known = {3}, other = {50};
  row.edit(other, [](size_t, double l) { return l - 1; });
  EXPECT_THROW(row.edit(other, [](size_t, double l) { return l + 1; }), NeedsWholeRow);
  row.edit(known, [](size_t, double) { return 0.5; });
  EXPECT_EQ(row.best().id, 8);
  EXPECT_THROW(row.top(2), NeedsWholeRow) << "token 3 may rank below others now";
  row.edit(known, [](size_t, double) { return kNever; });
  EXPECT_THROW(row.top(2), NeedsWholeRow);
}

}  // namespace
}  // namespace continuo::test
