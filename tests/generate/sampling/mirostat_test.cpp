#include "generate/sampling/stages/mirostat.h"

#include <numeric>

#include "generate/sampling/draw.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

struct Fixture {
  Vocabulary vocabulary = small_vocabulary();
  Noise noise{0, 0, 0};
  StageContext context{{}, 0, vocabulary, noise};
};

TEST(Mirostat, DropsTokensOfTooMuchSurprise) {
  Fixture f;
  Mirostat stage({.tau = 1, .eta = 0.5});
  // μ = 2 bits: p ≥ 1/4 stays.
  Candidates row = candidates_of(row_from_probabilities({.2, .45, .26, .09}));
  stage.apply(row, f.context);
  EXPECT_EQ(ids_of(row), (std::vector<TokenId>{1, 2}));
}

// The last token that a stage leaves of a row where token i > 0 has a surprise of 4 + i/10 bits,
// and token 0 the rest of the probability.
TokenId last_kept(SamplerStage& stage) {
  Fixture f;
  std::vector<double> probabilities = {0};
  for (int i = 1; i < 30; ++i) probabilities.push_back(std::exp2(-4 - i / 10.0));
  probabilities[0] = 1 - std::accumulate(probabilities.begin(), probabilities.end(), 0.0);
  Candidates row = candidates_of(row_from_probabilities(probabilities));
  stage.apply(row, f.context);
  return std::ranges::max(ids_of(row));
}

TEST(Mirostat, FollowsTheRecursion) {
  const MirostatParams params{.tau = 3, .eta = 0.2};
  EXPECT_NEAR(next_mu(6, params, std::log(0.25)), 6 - 0.2 * (2 - 3), 1e-12);          // 2 bits
  EXPECT_NEAR(next_mu(6.2, params, std::log(1 / 32.0)), 6.2 - 0.2 * (5 - 3), 1e-12);  // 5 bits
  // Bounds halfway between the surprises of two tokens: μ = 5.95, then 6.15.
  Mirostat stage({.tau = 2.975, .eta = 0.2});
  EXPECT_EQ(last_kept(stage), 19);
  stage.accept({0, -1.975 * std::numbers::ln2});
  EXPECT_EQ(last_kept(stage), 21);
}

TEST(Mirostat, KeepsOneTokenHoweverLowTheBound) {
  Fixture f;
  Mirostat stage({.tau = 0.1, .eta = 1});
  double mu = 0.2;
  for (int i = 0; i < 50; ++i) {
    stage.accept({0, -30});
    mu = next_mu(mu, {.tau = 0.1, .eta = 1}, -30);
  }
  EXPECT_LT(mu, 0);
  Candidates row = candidates_of({{3, 1.}, {4, 1.}, {5, 0.}});
  stage.apply(row, f.context);
  EXPECT_EQ(ids_of(row), (std::vector<TokenId>{3}));
}

TEST(Mirostat, AveragesItsTarget) {
  Fixture f;
  Row row;
  for (TokenId id = 0; id < 2000; ++id) row[id] = -1.1 * std::log(id + 1.0);
  for (double tau : {2.0, 4.0}) {
    Mirostat stage({.tau = tau, .eta = 0.1});
    double bits = 0;
    for (uint64_t step = 0; step < 600; ++step) {
      Candidates candidates = candidates_of(row);
      stage.apply(candidates, f.context);
      const Drawn drawn = draw(candidates, f.noise, step);
      stage.accept(drawn);
      if (step >= 100) bits -= drawn.logprob / std::log(2.0) / 500;
    }
    EXPECT_NEAR(bits, tau, 0.25);
  }
}

TEST(Mirostat, ClonesGoTheirOwnWays) {
  Mirostat stage({.tau = 3, .eta = 0.2});
  stage.accept({0, -1});
  const auto copy = stage.clone();
  const TokenId before = last_kept(stage);
  EXPECT_EQ(last_kept(*copy), before);
  stage.accept({0, -9});
  EXPECT_EQ(last_kept(*copy), before);
  EXPECT_LT(last_kept(stage), before);
}

}  // namespace
}  // namespace continuo::test
