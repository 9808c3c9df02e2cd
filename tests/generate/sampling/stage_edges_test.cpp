// The edges of every stage: off values, extremes, ties, a vocabulary of one.
#include "support/expect_error.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

using Ids = std::vector<TokenId>;

const Row kTied{{3, 1.}, {5, 2.}, {6, 2.}, {8, 2.}, {9, 0.}};

TEST(StageEdges, OffValuesChangeNothing) {
  const std::vector<TokenId> history{5, 6, 5, 6, 5, 6};
  for (const char* yaml :
       {"[{top_k: 0}]", "[{top_k: 100}]", "[{top_p: 1}]", "[{min_p: 0}]", "[{typical: 1}]",
        "[{epsilon: 0}]", "[{eta: 0}]", "[{top_n_sigma: 0}]", "[{xtc: 0}]",
        "[{xtc: {probability: 1, threshold: 0.51}}]", "[{temperature: 1}]", "[{repetition: 1}]",
        "[{repetition: {penalty: 1, form: raw}}]", "[{frequency: 0}]", "[{presence: 0}]",
        "[{dry: 0}]", "[{no_repeat_ngram: 0}]", "[{min_new_tokens: 0}]", "[]"}) {
    EXPECT_EQ(apply_chain(yaml, kTied, history), kTied) << yaml;
  }
}

TEST(StageEdges, ExtremesKeepOneTokenTheLowestOfTies) {
  for (const char* yaml :
       {"[greedy]", "[{top_k: 1}]", "[{top_p: 0}]", "[{min_p: 1}]", "[{temperature: 0}]"}) {
    EXPECT_EQ(kept(apply_chain(yaml, kTied)), Ids{5}) << yaml;
  }
  EXPECT_EQ(kept(apply_chain("[{epsilon: 1}]", kTied)), Ids{5});
  EXPECT_EQ(kept(apply_chain("[{typical: 0}]", kTied)).size(), 1u);
}

TEST(StageEdges, TiesAtTheEdgeGoToTheLowerId) {
  EXPECT_EQ(kept(apply_chain("[{top_k: 2}]", kTied)), (Ids{5, 6}));
  EXPECT_EQ(kept(apply_chain("[{top_k: 4}]", kTied)), (Ids{3, 5, 6, 8}));
  const Row even{{2, 0.}, {4, 0.}, {7, 0.}, {8, 0.}};
  EXPECT_EQ(kept(apply_chain("[{top_p: 0.5}]", even)), (Ids{2, 4}));
  EXPECT_EQ(kept(apply_chain("[{top_p: 0.51}]", even)), (Ids{2, 4, 7}));
  EXPECT_EQ(kept(apply_chain("[{typical: 0.5}]", even)), (Ids{2, 4}));
  EXPECT_EQ(kept(apply_chain("[{xtc: {probability: 1}}]", even)), Ids{8});
}

TEST(StageEdges, FlatRowsSurviveSpreadMeasures) {
  const Row flat{{2, 1.1}, {4, 1.1}, {7, 1.1}};
  for (const char* yaml : {"[{top_n_sigma: 1}]", "[{min_p: 0.9}]", "[{mirostat: {tau: 5}}]",
                           "[{temperature: {value: 0.7, range: 0.5}}, {min_p: 0.9}]"}) {
    EXPECT_EQ(kept(apply_chain(yaml, flat)).size(), 3u) << yaml;
  }
}

TEST(StageEdges, AVocabularyOfOneSurvivesEveryStage) {
  const Row one{{4, -3.}};
  for (const char* yaml :
       {"[greedy]", "[{top_k: 1}]", "[{top_p: 0}]", "[{top_p: 0.5}]", "[{min_p: 0.5}]",
        "[{typical: 0.5}]", "[{epsilon: 0.5}]", "[{eta: 0.5}]", "[{top_n_sigma: 1}]", "[{xtc: 1}]",
        "[{temperature: 0}]", "[{temperature: 2}]", "[{temperature: {value: 1, range: 1}}]",
        "[{mirostat: 0.1}]", "[{repetition: 1.5}]", "[{frequency: 1}]", "[{presence: 1}]",
        "[{dry: 1}]", "[{min_new_tokens: 9}]"}) {
    EXPECT_EQ(kept(apply_chain(yaml, one, {4, 4, 4, 4})), Ids{4}) << yaml;
  }
}

TEST(StageEdges, ManyStagesNeverMeetMinusInfinity) {
  // All but one token forbidden: every truncation keeps the rest.
  const Row row{{3, 1.}, {4, 5.}, {5, 2.}};
  for (const char* last : {"top_p: 0.5", "typical: 0.5", "eta: 0.1", "top_n_sigma: 1", "xtc: 1"}) {
    EXPECT_EQ(
        kept(apply_chain(fmt::format("[{{banned_words: {{ids: [3, 4]}}}}, {{{}}}]", last), row)),
        Ids{5})
        << last;
  }
}

TEST(StageEdges, TemperatureScales) {
  const Row row{{3, 1.}, {4, -2.}};
  expect_rows_near(apply_chain("[{temperature: 0.5}]", row), {{3, 2.}, {4, -4.}}, 1e-12);
  expect_rows_near(apply_chain("[{temperature: 2}]", row), {{3, .5}, {4, -1.}}, 1e-12);
}

TEST(StageEdges, DynamicTemperatureFollowsEntropy) {
  // Entropy share 1: the highest temperature.
  const Row flat{{3, 2.}, {4, 2.}};
  expect_rows_near(apply_chain("[{temperature: {value: 1, range: 0.5}}]", flat),
                   {{3, 2 / 1.5}, {4, 2 / 1.5}}, 1e-12);
  // {.75, .25}: H = .562335, share .811278, to the 2nd power .658172 → T = .5 + .658172.
  const Row skewed = row_from_probabilities({1, 1, 1, .75, .25});
  Row pair{{3, skewed.at(3)}, {4, skewed.at(4)}};
  const double t = 0.5 + std::pow(0.8112781244591328, 2);
  expect_rows_near(apply_chain("[{temperature: {value: 1, range: 0.5, exponent: 2}}]", pair),
                   {{3, pair.at(3) / t}, {4, pair.at(4) / t}}, 1e-9);
  // The lowest temperature is 0 where the row is certain.
  EXPECT_EQ(kept(apply_chain("[{temperature: {value: 1, range: 1}}]", {{3, 900.}, {4, -900.}})),
            Ids{3});
}

TEST(StageEdges, ValuesOutOfRangeAreErrors) {
  for (const char* yaml :
       {"[{top_k: -1}]", "[{top_p: 1.5}]", "[{top_p: -0.1}]", "[{min_p: 2}]", "[{temperature: -1}]",
        "[{repetition: 0}]", "[{xtc: 1.5}]", "[{mirostat: 0}]", "[{dry: {base: 0.5}}]",
        "[{top_k: 1.5}]", "[{top_p: {min_keep: 0}}]"}) {
    expect_error([&] { apply_chain(yaml, kTied); }, {"test.yaml:1:", "sampler.0."});
  }
}

}  // namespace
}  // namespace continuo::test
