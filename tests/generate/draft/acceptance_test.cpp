#include "generate/draft/acceptance.h"

#include <cmath>

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(AcceptanceRate, BeginsWithThePriorAndApproachesWhatItSees) {
  AcceptanceRate rate(0.3);
  EXPECT_DOUBLE_EQ(rate.value(), 0.3);
  for (int i = 0; i < 200; ++i) rate.observe(3, true);
  EXPECT_NEAR(rate.value(), 0.75, 0.06);
  for (int i = 0; i < 200; ++i) rate.observe(0, true);
  EXPECT_LT(rate.value(), 0.03);
}

TEST(AcceptanceRate, RestReturnsToThePrior) {
  AcceptanceRate rate(0.6);
  for (int i = 0; i < 50; ++i) rate.observe(0, true);
  double before = rate.value();
  for (int i = 0; i < 500; ++i) {
    rate.rest();
    EXPECT_GE(rate.value(), before);
    before = rate.value();
  }
  EXPECT_NEAR(before, 0.6, 0.01);
}

// The expected tokens of a pass summed term by term.
double gain(double rate, const DraftCost& cost, int64_t k) {
  double tokens = 0;
  for (int64_t i = 0; i <= k; ++i) tokens += std::pow(rate, static_cast<double>(i));
  return tokens / cost(k);
}

TEST(PassTime, IsBoundByReadingAndThenByArithmetic) {
  const PassTime time{.extra = 0.1, .arithmetic = 0.25};
  EXPECT_DOUBLE_EQ(time(1), 1);
  EXPECT_DOUBLE_EQ(time(3), 1.2);
  EXPECT_DOUBLE_EQ(time(16), 4);
  const DraftCost cost{.time = time, .live = 2};
  EXPECT_DOUBLE_EQ(cost(0), 1);
  EXPECT_DOUBLE_EQ(cost(7), 4 / 1.1);
}

TEST(BestDraftLength, IsTheBestOfAll) {
  for (const double rate : {0.0, 0.1, 0.5, 0.8, 0.95, 1.0}) {
    for (const double extra : {0.0, 0.05, 0.12, 0.4, 1.0}) {
      const DraftCost cost{.time = {.extra = extra, .arithmetic = 1.5 * extra}, .live = 3};
      const int64_t best = best_draft_length(rate, cost, 16);
      for (int64_t k = 0; k <= 16; ++k)
        EXPECT_GE(gain(rate, cost, best), gain(rate, cost, k) - 1e-12);
    }
  }
}

TEST(BestDraftLength, DraftsNothingThatDoesNotPay) {
  const DraftCost cheap{.time = {.extra = 0.12}}, dear{.time = {.extra = 0.9}};
  EXPECT_EQ(best_draft_length(0.1, cheap, 16), 0);
  EXPECT_EQ(best_draft_length(0.9, cheap, 0), 0);
  EXPECT_EQ(best_draft_length(1.0, dear, 16), 16);
}

}  // namespace
}  // namespace continuo
