// The dense form of a row against the list of its tokens: the same questions must have the same
// answers, and chains of stages must keep and draw the same tokens, whichever form they begin with.
#include "generate/sampling/dense_row.h"

#include <limits>

#include "generate/sampling/draw.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

constexpr float kFloatInf = std::numeric_limits<float>::infinity();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Logits of many shapes: ties, −inf, a heavy head, offsets.
std::vector<float> float_row(uint64_t seed, size_t size) {
  const Random random(seed, "float row");
  const double scale = 0.2 + 4 * random.uniform(1000000),
               offset = 30 * random.uniform(1000001) - 15;
  std::vector<float> row(size);
  for (size_t i = 0; i < size; ++i) {
    double logit = scale * random.normal(i);
    if (seed % 3 == 0) logit = std::round(logit * 2) / 2;
    if (seed % 4 == 1 && random.uniform(i, 1) < 0.2) logit = -kInfinity;
    row[i] = static_cast<float>(logit + offset);
  }
  if (seed % 2 == 0) row[random.below(size, 1000002)] += static_cast<float>(6 * scale);
  row[size / 2] = static_cast<float>(offset);
  return row;
}

Candidates listed(std::span<const float> logits) {
  std::vector<Candidate> items;
  for (size_t i = 0; i < logits.size(); ++i) items.push_back({static_cast<TokenId>(i), logits[i]});
  return Candidates(std::move(items));
}

// The same edits, bans and division to both forms.
void disturb(Candidates& row, uint64_t seed, size_t size) {
  const Random random(seed, "disturb");
  std::vector<TokenId> ids;
  for (size_t i = 0; i < size; ++i) {
    if (random.uniform(i) < 0.05) ids.push_back(static_cast<TokenId>(i));
  }
  ids.push_back(row.best().id);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  row.edit(ids, [](size_t i, double l) {
    return i % 5 == 0 ? -kInfinity : i % 2 == 0 ? l - 1.5 : l + 0.25;
  });
  if (seed % 3 != 1) row.divide(0.7);
  if (seed % 3 == 2) row.remove(std::vector<TokenId>{ids.front(), row.best().id, row.best().id});
}

class DenseRowTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    disturb(dense, seed, size);
    disturb(list, seed, size);
    ASSERT_TRUE(dense.dense());
    ASSERT_FALSE(list.dense());
  }
  const uint64_t seed = static_cast<uint64_t>(GetParam());
  const size_t size = seed % 5 == 0 ? 7000 : seed % 5 == 1 ? 64 : 333;
  const std::vector<float> logits = float_row(seed, size);
  Candidates dense{std::span<const float>(logits)};
  Candidates list = listed(logits);
};

TEST_P(DenseRowTest, AnswersAsTheListDoes) {
  const DenseRow& row = *dense.dense();
  EXPECT_EQ(row.size(), list.size());
  EXPECT_EQ(row.best().id, list.best().id);
  EXPECT_EQ(row.best().logit, list.best().logit);
  EXPECT_NEAR(row.sums().log_sum(), list.log_sum(), 2e-6);
  EXPECT_NEAR(row.sums().entropy(), list.entropy(), 4e-5);
  EXPECT_NEAR(row.deviation(), list.deviation(), 1e-9);
  for (const double below : {0.0, 1.0, 3.3, 1e9, kInfinity}) {
    const double bar = list.best().logit - below;
    const auto a = row.between(bar), b = list.at_least(bar);
    ASSERT_EQ(a.size(), b.size()) << below;
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].id, b[i].id);
      EXPECT_EQ(a[i].logit, b[i].logit);
    }
    for (const Candidate& c : row.between(bar, bar + 1)) EXPECT_LE(c.logit, bar + 1);
  }
  EXPECT_EQ(row_of(dense), row_of(list));  // asks for single tokens: no longer dense
  EXPECT_FALSE(dense.dense());
}

TEST_P(DenseRowTest, ReachedByIsReachedAndNear) {
  const DenseRow& row = *dense.dense();
  for (const size_t k : {1ul, 2ul, 5ul, 20ul, 100ul, 5000ul}) {
    const size_t reach = row.between(row.reached_by(k)).size();
    EXPECT_GE(reach, std::min(k, row.size()));
    if (k <= 20 && size > 5000 && seed % 3 != 0) {
      EXPECT_LE(reach, 4 * k + 8);
    }
  }
  EXPECT_EQ(row.reached_by(0), -kInfinity);
}

TEST_P(DenseRowTest, RawLogSumIsThatOfTheRowAsItCame) {
  EXPECT_NEAR(dense.raw_log_sum(), listed(logits).log_sum(), 2e-6);
  dense.keep_top(1);
  EXPECT_NEAR(dense.raw_log_sum(), listed(logits).log_sum(), 2e-6);
}

TEST_P(DenseRowTest, DrawsTheSameTokens) {
  const Noise noise(seed, 1, 2);
  for (uint64_t position = 0; position < 50; ++position) {
    const Drawn a = draw(dense, noise, position), b = draw(list, noise, position);
    EXPECT_EQ(a.id, b.id);
    EXPECT_NEAR(a.logprob, b.logprob, 2e-6);
  }
  EXPECT_TRUE(dense.dense());
}

TEST_P(DenseRowTest, ChainsKeepTheSameTokens) {
  static const Vocabulary vocabulary = small_vocabulary(100000);
  const Random random(seed, "history");
  std::vector<TokenId> history;
  for (size_t i = 0; i < 300; ++i)
    history.push_back(static_cast<TokenId>(random.below(size / 2 + 1, i)));
  for (const char* yaml :
       {"[greedy]",
        "[{top_k: 7}]",
        "[{top_k: 200}, {top_p: 0.9}]",
        "[{top_p: 0.8}]",
        "[{top_p: 0.999}]",
        "[{top_p: {p: 0.1, min_keep: 9}}]",
        "[{min_p: 0.03}]",
        "[{min_p: {p: 0.9, min_keep: 5}}]",
        "[{typical: 0.7}]",
        "[{epsilon: 0.002}]",
        "[{eta: 0.01}]",
        "[{top_n_sigma: 1.3}]",
        "[{mirostat: 3}]",
        "[{temperature: 0.6}]",
        "[{temperature: {value: 1, range: 0.4}}]",
        "[{temperature: 0}]",
        "[{temperature: 0.6}, {temperature: 1.7}, {top_p: 0.9}]",
        "[{xtc: {probability: 1, threshold: 0.02}}]",
        "[{repetition: 1.3}, {frequency: 0.2}, {presence: 0.1}, dry, {top_k: 50}, {typical: 0.95}, "
        "{top_p: 0.9}, "
        "{min_p: 0.01}, {temperature: 0.8}]",
        "[{repetition: {penalty: 1.4, form: raw}}, {top_p: 0.95}]",
        "[{no_repeat_ngram: 2}, {min_new_tokens: 400}]",
        "[{logit_bias: {ids: {5: 3, 9: -inf}}}, {banned_words: {ids: [3, 4]}}, {min_p: 0.05}]"}) {
    SamplerChain chain = make_chain(yaml, vocabulary);
    Candidates a{std::span<const float>(logits)}, b = listed(logits);
    const Noise noise(seed, 0, 0);
    chain.apply(a, {history, 10, vocabulary, noise});
    chain.apply(b, {history, 10, vocabulary, noise});
    EXPECT_EQ(draw(a, noise, 300).id, draw(b, noise, 300).id) << yaml;
    expect_rows_near(row_of(a), row_of(b), 1e-5);
    if (HasFailure()) FAIL() << yaml;
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, DenseRowTest, ::testing::Range(0, 30));

TEST(DenseRow, ATokenThatHeldAllTheMassLeavesExactSums) {
  // The sum must not be what is left of a difference: e^30 : 1.
  std::vector<float> logits(1000, 0.0f);
  logits[77] = 30;
  Candidates row{std::span<const float>(logits)};
  EXPECT_NEAR(row.log_sum(), 30, 1e-6);
  row.remove(std::vector<TokenId>{77});
  EXPECT_NEAR(row.log_sum(), std::log(999.0), 1e-9);
  EXPECT_NEAR(row.entropy(), std::log(999.0), 1e-9);
  EXPECT_EQ(row.best().id, 0);
}

TEST(DenseRow, EveryTokenMayBeEdited) {
  const std::vector<float> logits{1, 2, -kFloatInf, 3};
  Candidates row{std::span<const float>(logits)};
  row.edit(std::vector<TokenId>{0, 1, 2, 3}, [](size_t, double l) { return 10 - l; });
  EXPECT_EQ(row_of(row), (Row{{0, 9.}, {1, 8.}, {3, 7.}}));
  Candidates gone{std::span<const float>(logits)};
  gone.remove(std::vector<TokenId>{0, 1, 2, 3, 17});
  EXPECT_TRUE(gone.empty());
}

TEST(DenseRow, EditsThatMakeNanAreErrors) {
  const std::vector<float> logits{1, 2};
  Candidates row{std::span<const float>(logits)};
  EXPECT_THROW(row.edit(std::vector<TokenId>{1}, [](size_t, double) { return std::nan(""); }),
               Error);
  Candidates list = listed(logits);
  EXPECT_THROW(list.edit(std::vector<TokenId>{1}, [](size_t, double) { return std::nan(""); }),
               Error);
}

TEST(DenseRow, OnlyOneDivisionIsRemembered) {
  const std::vector<float> logits{1, 2};
  DenseRow row;
  row.reset(logits);
  EXPECT_TRUE(row.divide(0.5));
  EXPECT_EQ(row.best().logit, 4);
  EXPECT_FALSE(row.divide(0.5));
  EXPECT_EQ(row.best().logit, 4);
}

}  // namespace
}  // namespace continuo::test
