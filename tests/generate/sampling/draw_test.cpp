#include "generate/sampling/draw.h"

#include "support/row_fixture.h"

namespace continuo::test {
namespace {

// G = 2 Σ O ln(O / E), asymptotically χ² with n − 1 degrees of freedom.
double g_statistic(const std::map<TokenId, int64_t>& observed,
                   const std::map<TokenId, long double>& expected, double draws) {
  double g = 0;
  for (const auto& [id, count] : observed) {
    g += 2 * static_cast<double>(count) *
         std::log(static_cast<double>(count) / (static_cast<double>(expected.at(id)) * draws));
  }
  return g;
}

// Upper quantile by Wilson and Hilferty; z = 3.72 leaves 1e-4.
double chi_square_limit(double freedom) {
  const double c = 2 / (9 * freedom);
  return freedom * std::pow(1 - c + 3.72 * std::sqrt(c), 3);
}

constexpr int64_t kDraws = 200000;

std::map<TokenId, int64_t> frequencies(const Row& row, uint64_t seed) {
  const Candidates candidates = candidates_of(row);
  const Noise noise(seed, 3, 1);
  std::map<TokenId, int64_t> counts;
  for (int64_t i = 0; i < kDraws; ++i)
    ++counts[draw(candidates, noise, static_cast<uint64_t>(i)).id];
  return counts;
}

Row test_law() {
  return row_from_probabilities({.30, .22, .15, .1, .08, .06, .04, .03, .015, .005});
}

TEST(Draw, FollowsTheLaw) {
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const double g = g_statistic(frequencies(test_law(), seed), slow_softmax(test_law()), kDraws);
    EXPECT_LT(g, chi_square_limit(9)) << "seed " << seed;
  }
}

TEST(Draw, TheTestWouldSeeABiasOfOnePercent) {
  // The negative control: the same draws against a law with one token 1 percentage point off.
  auto planted = slow_softmax(test_law());
  planted[1] += 0.01L;
  planted[0] -= 0.01L;
  EXPECT_GT(g_statistic(frequencies(test_law(), 0), planted, kDraws), chi_square_limit(9));
}

TEST(Draw, FollowsTheLawAlongSequencesToo) {
  // Noise of many short sequences instead of one long one.
  const Candidates candidates = candidates_of(test_law());
  std::map<TokenId, int64_t> counts;
  for (uint64_t sequence = 0; sequence < 200; ++sequence) {
    for (uint64_t sample = 0; sample < 50; ++sample) {
      const Noise noise(11, sequence, sample);
      for (uint64_t position = 5; position < 25; ++position) {
        ++counts[draw(candidates, noise, position).id];
      }
    }
  }
  EXPECT_LT(g_statistic(counts, slow_softmax(test_law()), kDraws), chi_square_limit(9));
}

TEST(Draw, ReachesTheFarTail) {
  // 1000 tokens of 2e-6 each: the tail holds 0.2 %.
  Row row{{0, 0.}};
  for (TokenId id = 1; id <= 1000; ++id) row[id] = std::log(2e-6);
  int64_t tail = 0;
  for (const auto& [id, count] : frequencies(row, 5)) tail += id != 0 ? count : 0;
  const double expected = kDraws * 0.002 / 1.002;
  EXPECT_NEAR(static_cast<double>(tail), expected, 4.5 * std::sqrt(expected));
}

TEST(Draw, ShortcutsNeverChangeTheWinner) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Row row = random_row(seed, 300);
    const Candidates candidates = candidates_of(row);
    const Noise noise(seed, 0, 0);
    for (uint64_t position = 0; position < 20; ++position) {
      TokenId best = -1;
      double bar = -1e300;
      for (const auto& [id, l] : row) {
        const double value = l - std::log(-std::log(noise.token_uniform(position, id)));
        if (value > bar) bar = value, best = id;
      }
      EXPECT_EQ(draw(candidates, noise, position).id, best);
    }
  }
}

TEST(Draw, ReportsTheLogProbabilityOfItsLaw) {
  const Row row = random_row(4, 30);
  const auto p = slow_softmax(row);
  for (uint64_t position = 0; position < 20; ++position) {
    const Drawn drawn = draw(candidates_of(row), Noise(0, 0, 0), position);
    EXPECT_NEAR(drawn.logprob, static_cast<double>(std::log(p.at(drawn.id))), 1e-12);
  }
  EXPECT_EQ(draw(candidates_of({{7, -5.}}), Noise(0, 0, 0), 0).logprob, 0);
}

TEST(Draw, NoiseDependsOnEveryPartOfItsKey) {
  const Noise noise(1, 2, 3);
  const double u = noise.token_uniform(4, 5);
  EXPECT_EQ(Noise(1, 2, 3).token_uniform(4, 5), u);
  EXPECT_NE(Noise(9, 2, 3).token_uniform(4, 5), u);
  EXPECT_NE(Noise(1, 9, 3).token_uniform(4, 5), u);
  EXPECT_NE(Noise(1, 2, 9).token_uniform(4, 5), u);
  EXPECT_NE(noise.token_uniform(9, 5), u);
  EXPECT_NE(noise.token_uniform(4, 4), u);  // shares its block
  EXPECT_NE(noise.token_uniform(4, 6), u);
  EXPECT_NE(noise.coin(4), noise.coin(5));
}

TEST(Draw, TwoLawsThatNearlyAgreeMostlyDrawTheSame) {
  // Total variation 0.08; independent draws of 50 tokens would agree in about 2 % of cases.
  Row a, b;
  for (TokenId id = 0; id < 50; ++id) {
    a[id] = 0;
    b[id] = std::log(id % 2 ? 1.16 : 0.84);
  }
  int same = 0;
  for (uint64_t position = 0; position < 4000; ++position) {
    same += draw(candidates_of(a), Noise(0, 0, 0), position).id ==
            draw(candidates_of(b), Noise(0, 0, 0), position).id;
  }
  EXPECT_GT(same / 4000.0, 0.8);
}

TEST(RawLogprob, IsTheLogSoftmaxOfTheUnmodifiedRow) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_NEAR(raw_logprob(std::vector<float>{0, std::log(3.0f), -inf}, 1), std::log(0.75), 1e-7);
  EXPECT_NEAR(raw_logprob(std::vector<float>(100000, 88.0f), 5), -std::log(1e5), 1e-9);
}

}  // namespace
}  // namespace continuo::test
