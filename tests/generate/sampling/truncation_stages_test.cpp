// Truncations against definitions written out independently in long double, over random rows.
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

using Probabilities = std::map<TokenId, long double>;

long double entropy(const Probabilities& p) {
  long double h = 0;
  for (const auto& [id, x] : p) h -= x > 0 ? x * std::log(x) : 0;
  return h;
}

// Rank order by `key` ascending, ties to the lower id; as many as hold `mass`.
std::vector<TokenId> until_mass(const Probabilities& p, long double mass,
                                const std::function<long double(TokenId)>& key) {
  std::vector<TokenId> order;
  for (const auto& [id, x] : p) order.push_back(id);
  std::stable_sort(order.begin(), order.end(),
                   [&](TokenId a, TokenId b) { return key(a) < key(b); });
  std::vector<TokenId> result;
  long double above = 0;
  for (TokenId id : order) {
    if (!result.empty() && above >= mass) break;
    result.push_back(id);
    above += p.at(id);
  }
  return sorted(result);
}

std::vector<TokenId> where(const Row& row, const std::function<bool(TokenId)>& keep) {
  std::vector<TokenId> ids;
  for (const auto& [id, l] : row) {
    if (keep(id)) ids.push_back(id);
  }
  if (ids.empty()) ids.push_back(ranking(row).front());
  return ids;
}

std::string stage(const std::string& name, double value) {
  return fmt::format("- {}: {}", name, value);
}

class Truncation : public ::testing::TestWithParam<int> {
 protected:
  Row row = random_row(static_cast<uint64_t>(GetParam()), GetParam() % 3 == 0 ? 2000 : 25);
  Probabilities p = slow_softmax(row);
};

TEST_P(Truncation, TopK) {
  const auto ranks = ranking(row);
  for (size_t k : {1ul, 3ul, 24ul, 25ul, 26ul, 1500ul, 100000ul}) {
    const size_t n = std::min(k, row.size());
    EXPECT_EQ(kept(apply_chain(stage("top_k", static_cast<double>(k)), row)),
              sorted({ranks.begin(), ranks.begin() + static_cast<long>(n)}));
  }
}

TEST_P(Truncation, TopP) {
  for (double mass : {0.05, 0.3, 0.5, 0.77, 0.9, 0.95, 0.999}) {
    EXPECT_EQ(kept(apply_chain(stage("top_p", mass), row)),
              until_mass(p, mass, [&](TokenId id) { return -row.at(id); }))
        << mass;
  }
}

TEST_P(Truncation, MinP) {
  const double max = row.at(ranking(row).front());
  for (double m : {0.01, 0.05, 0.2, 0.5, 0.9}) {
    EXPECT_EQ(kept(apply_chain(stage("min_p", m), row)),
              where(row, [&](TokenId id) { return row.at(id) - max >= std::log(m); }))
        << m;
  }
}

TEST_P(Truncation, Typical) {
  const long double h = entropy(p);
  // The oracle's −ln p comes from the logits too: for tied logits it must tie exactly.
  long double sum = 0;
  const double max = row.at(ranking(row).front());
  for (const auto& [id, l] : row) sum += std::exp(static_cast<long double>(l) - max);
  const double expected = static_cast<double>(max + std::log(sum) - h);
  for (double mass : {0.1, 0.4, 0.6, 0.9, 0.99}) {
    EXPECT_EQ(kept(apply_chain(stage("typical", mass), row)),
              until_mass(p, mass,
                         [&](TokenId id) {
                           // Coarse enough that rounding does not reorder two tokens that tie.
                           return std::round(std::abs(expected - row.at(id)) * 1e9L);
                         }))
        << mass;
  }
}

TEST_P(Truncation, EpsilonAndEta) {
  const long double h = entropy(p);
  for (double eps : {1e-5, 1e-3, 0.01, 0.1, 0.9}) {
    EXPECT_EQ(kept(apply_chain(stage("epsilon", eps), row)),
              where(row, [&](TokenId id) { return p.at(id) >= eps; }));
    const long double cut = std::min<long double>(eps, std::sqrt(eps) * std::exp(-h));
    EXPECT_EQ(kept(apply_chain(stage("eta", eps), row)),
              where(row, [&](TokenId id) { return p.at(id) >= cut; }));
  }
}

TEST_P(Truncation, TopNSigma) {
  long double mean = 0, variance = 0;
  for (const auto& [id, l] : row) mean += l;
  mean /= static_cast<long double>(row.size());
  for (const auto& [id, l] : row) variance += (l - mean) * (l - mean);
  const long double sigma = std::sqrt(variance / static_cast<long double>(row.size()));
  const double max = row.at(ranking(row).front());
  for (double n : {0.31, 1.07, 2.03, 10.0}) {
    EXPECT_EQ(kept(apply_chain(stage("top_n_sigma", n), row)),
              where(row, [&](TokenId id) { return row.at(id) >= max - n * sigma; }));
  }
}

TEST_P(Truncation, Xtc) {
  for (double threshold : {0.01, 0.05, 0.1, 0.3}) {
    std::vector<TokenId> top;
    for (TokenId id : ranking(row)) {
      if (p.at(id) >= threshold && id != 1) top.push_back(id);  // 1 ends a sequence
    }
    const auto expected = where(row, [&](TokenId id) {
      const bool is_top = std::find(top.begin(), top.end(), id) != top.end();
      return !is_top || top.size() < 2 || id == top.back();
    });
    EXPECT_EQ(
        kept(apply_chain(fmt::format("- xtc: {{probability: 1, threshold: {}}}", threshold), row)),
        expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, Truncation, ::testing::Range(0, 24));

TEST(TopP, TemperatureBeforeItKeepsLess) {
  const Row row{{0, 3.}, {1, 2.}, {2, 1.}};
  EXPECT_EQ(kept(apply_chain("[{top_p: 0.8}]", row)), (std::vector<TokenId>{0, 1}));
  EXPECT_EQ(kept(apply_chain("[{temperature: 0.5}, {top_p: 0.8}]", row)),
            (std::vector<TokenId>{0}));
  EXPECT_EQ(kept(apply_chain("[{top_p: 0.8}, {temperature: 0.5}]", row)),
            (std::vector<TokenId>{0, 1}));
}

TEST(Typical, MaskedTokensDoNotDisturbIt) {
  // With {.5, .3, .15, .05} and 0.4 the typical set is {1, 0}; a masked token must not change it.
  Row row = row_from_probabilities({.5, .3, .15, .05});
  EXPECT_EQ(kept(apply_chain("[{typical: 0.4}]", row)), (std::vector<TokenId>{0, 1}));
  row[4] = 3;
  EXPECT_EQ(kept(apply_chain("[{logit_bias: {ids: {4: -inf}}}, {typical: 0.4}]", row)),
            (std::vector<TokenId>{0, 1}));
}

TEST(Typical, MayDropTheMostProbable) {
  // H of {.4, .3, .3} is 1.09; −ln .4 = .92 is .17 away, −ln .3 = 1.20 only .11.
  EXPECT_EQ(kept(apply_chain("[{typical: 0.5}]", row_from_probabilities({.4, .3, .3}))),
            (std::vector<TokenId>{1, 2}));
}

TEST(MinKeep, HoldsPerStage) {
  const Row row = row_from_probabilities({.05, .9, .03, .02});
  const std::vector<TokenId> top3{0, 1, 2};
  for (const char* yaml :
       {"[{top_p: {p: 0.1, min_keep: 3}}]", "[{min_p: {p: 0.9, min_keep: 3}}]",
        "[{min_p: {p: 1, min_keep: 3}}]", "[{epsilon: {cutoff: 0.8, min_keep: 3}}]",
        "[{eta: {cutoff: 0.9, min_keep: 3}}, {top_k: 3}]"}) {
    EXPECT_EQ(kept(apply_chain(yaml, row)), top3) << yaml;
  }
  EXPECT_EQ(kept(apply_chain("[{typical: {p: 0.01, min_keep: 4}}]", row)).size(), 4u);
}

TEST(Xtc, TossesItsCoinWithTheGivenProbability) {
  const Row row = row_from_probabilities({.001, .001, .001, .4, .4, .197});
  int excluded = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    excluded += kept(apply_chain("[{xtc: {probability: 0.3}}]", row, {}, 0, seed)).size() == 4;
  }
  EXPECT_NEAR(excluded / 2000.0, 0.3, 0.04);
}

TEST(Xtc, NeverRemovesEndOfSequenceUnlessTold) {
  const Row row = row_from_probabilities({.01, .5, .01, .28, .2});
  EXPECT_EQ(kept(apply_chain("[{xtc: {probability: 1}}]", row)),
            (std::vector<TokenId>{0, 1, 2, 4}));
  EXPECT_EQ(kept(apply_chain("[{xtc: {probability: 1, guard_eos: false}}]", row)),
            (std::vector<TokenId>{0, 2, 4}));
  // One real token beside the end: nothing to exclude.
  const Row ending = row_from_probabilities({.05, .6, .05, .3});
  EXPECT_EQ(kept(apply_chain("[{xtc: {probability: 1}}]", ending)).size(), 4u);
}

}  // namespace
}  // namespace continuo::test
