#include "generate/stages/mirostat.h"

#include "generate/draw.h"
#include "generate/row_fixture.h"

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

TEST(Mirostat, FollowsTheRecursion) {
  Mirostat stage({.tau = 3, .eta = 0.2});
  EXPECT_DOUBLE_EQ(stage.mu(), 6);
  stage.accept({0, std::log(0.25)});  // 2 bits
  EXPECT_NEAR(stage.mu(), 6 - 0.2 * (2 - 3), 1e-12);
  stage.accept({0, std::log(1 / 32.0)});  // 5 bits
  EXPECT_NEAR(stage.mu(), 6.2 - 0.2 * (5 - 3), 1e-12);
}

TEST(Mirostat, KeepsOneTokenHoweverLowTheBound) {
  Fixture f;
  Mirostat stage({.tau = 0.1, .eta = 1});
  for (int i = 0; i < 50; ++i) stage.accept({0, -30});
  EXPECT_LT(stage.mu(), 0);
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
  EXPECT_EQ(dynamic_cast<Mirostat&>(*copy).mu(), stage.mu());
  stage.accept({0, -9});
  EXPECT_NE(dynamic_cast<Mirostat&>(*copy).mu(), stage.mu());
}

}  // namespace
}  // namespace continuo::test
