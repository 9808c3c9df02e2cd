#include "generate/sampling/candidates.h"

#include <limits>

#include "support/expect_error.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Candidates, LeavesMinusInfinityOut) {
  const std::vector<float> logits{1, -kInf, 3, -kInf};
  const Candidates row{std::span<const float>(logits)};
  EXPECT_EQ(ids_of(row), (std::vector<TokenId>{0, 2}));
  EXPECT_EQ(row.best().id, 2);
}

TEST(Candidates, OneFiniteLogitIsCertain) {
  const std::vector<float> logits{-kInf, -4, -kInf};
  const Candidates row{std::span<const float>(logits)};
  EXPECT_DOUBLE_EQ(row.probabilities()[0], 1);
  EXPECT_DOUBLE_EQ(row.entropy(), 0);
}

TEST(Candidates, RejectsFaultyRows) {
  Candidates row;
  expect_error([&] { row.reset(std::vector<float>{0, kNan, 1}); }, {"token 1 is NaN"});
  expect_error([&] { row.reset(std::vector<float>{0, 1, kInf}); }, {"token 2 is infinite"});
  expect_error([&] { row.reset(std::vector<float>{-kInf, -kInf}); }, {"all 2 logits are -inf"});
  expect_error([&] { row.reset(std::vector<float>{}); }, {"no token"});
  row.reset(std::vector<float>{5});  // usable again
  EXPECT_EQ(row.size(), 1u);
}

TEST(Candidates, BestPrefersTheLowerId) {
  EXPECT_EQ(candidates_of({{4, 2.0}, {1, 1.0}, {9, 2.0}}).best().id, 4);
}

TEST(Candidates, SoftmaxSurvivesLargeLogits) {
  const Candidates row = candidates_of({{0, 1e4}, {1, 1e4 + std::log(3.0)}, {2, -1e4}});
  EXPECT_NEAR(row.probabilities()[0], 0.25, 1e-12);
  EXPECT_NEAR(row.probabilities()[1], 0.75, 1e-12);
  EXPECT_LT(row.probabilities()[2], 1e-300);
  EXPECT_NEAR(row.log_sum(), 1e4 + std::log(4.0), 1e-9);
  EXPECT_TRUE(std::isfinite(row.entropy()));
}

TEST(Candidates, SoftmaxFollowsChanges) {
  Candidates row = candidates_of({{0, 0.0}, {1, 0.0}});
  EXPECT_DOUBLE_EQ(row.probabilities()[0], 0.5);
  const auto edit = [&](TokenId id, auto f) {
    row.edit(std::vector<TokenId>{id}, [&](size_t, double l) { return f(l); });
  };
  edit(0, [](double l) { return l + std::log(3.0); });
  EXPECT_NEAR(row.probabilities()[0], 0.75, 1e-12);
  EXPECT_EQ(row.best().id, 0);
  edit(0, [](double) { return -std::numeric_limits<double>::infinity(); });
  EXPECT_EQ(ids_of(row), (std::vector<TokenId>{1}));
  edit(17, [](double) { return 0.0; });
  EXPECT_EQ(row.size(), 1u);
}

TEST(Candidates, KeepTopEqualsSortingForEveryK) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const size_t size = seed < 3 ? 40 : 3000;
    const Row row = random_row(seed, size);
    const auto ranks = ranking(row);
    for (size_t k : {1ul, 2ul, 7ul, 39ul, 300ul, 2999ul, 5000ul}) {
      Candidates candidates = candidates_of(row);
      candidates.keep_top(k);
      const auto best = ranks.begin() + static_cast<long>(std::min(k, size));
      EXPECT_EQ(ids_of(candidates), sorted({ranks.begin(), best})) << "seed " << seed << " k " << k;
    }
  }
}

TEST(Candidates, KeepTopOfAFlatRowKeepsTheLowestIds) {
  Row row;
  for (TokenId id = 0; id < 5000; ++id) row[id] = 1;
  Candidates candidates = candidates_of(row);
  candidates.keep_top(3);
  EXPECT_EQ(ids_of(candidates), (std::vector<TokenId>{0, 1, 2}));
}

TEST(Candidates, RemoveTakesAscendingIds) {
  Candidates row = candidates_of({{1, 0.}, {3, 0.}, {5, 0.}, {7, 0.}});
  row.remove(std::vector<TokenId>{0, 3, 3, 4, 7, 9});
  EXPECT_EQ(ids_of(row), (std::vector<TokenId>{1, 5}));
}

}  // namespace
}  // namespace continuo::test
