#include "generate/sampling/sampler_chain.h"

#include "generate/sampling/draw.h"
#include "support/expect_error.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

TEST(SamplerChain, AppliesStagesInTheirOrder) {
  const Row row{{0, 3.}, {1, 2.}, {2, 1.}};
  const Row a = apply_chain("[{top_k: 2}, {temperature: 0.5}]", row);
  expect_rows_near(a, {{0, 6.}, {1, 4.}}, 1e-12);
}

TEST(SamplerChain, SplittingAChainChangesNothing) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Row row = random_row(seed, 80);
    const Row whole = apply_chain("[{top_k: 20}, {temperature: 0.7}, {top_p: 0.9}]", row);
    const Row parts = apply_chain(
        "[{top_p: 0.9}]", apply_chain("[{temperature: 0.7}]", apply_chain("[{top_k: 20}]", row)));
    expect_rows_near(whole, parts, 1e-12);
  }
}

// Tokens and log-probabilities drawn by a chain with a state, from rows that change.
std::vector<std::pair<TokenId, double>> continue_with(SamplerChain& chain,
                                                      const Vocabulary& vocabulary, uint64_t from,
                                                      uint64_t to) {
  std::vector<std::pair<TokenId, double>> drawn;
  const Noise noise(1, 1, 1);
  for (uint64_t i = from; i < to; ++i) {
    Candidates row = candidates_of(random_row(i, 40));
    const std::vector<TokenId> history(i, 3);
    chain.apply(row, {history, 0, vocabulary, noise});
    const Drawn d = draw(row, noise, i);
    chain.accept(d);
    drawn.emplace_back(d.id, d.logprob);
  }
  return drawn;
}

TEST(SamplerChain, ClonesCarryTheStateAndShareNothing) {
  const Vocabulary vocabulary = small_vocabulary(1000);
  SamplerChain chain =
      make_chain("[dry, {temperature: 1.2}, {mirostat: {tau: 2, eta: 0.9}}]", vocabulary);
  continue_with(chain, vocabulary, 0, 20);
  SamplerChain copy = chain.clone();
  const auto a = continue_with(chain, vocabulary, 20, 60);
  continue_with(chain, vocabulary, 60, 80);
  EXPECT_EQ(continue_with(copy, vocabulary, 20, 60), a);
}

TEST(SamplerChain, AFreshCopyHasOtherState) {
  const Vocabulary vocabulary = small_vocabulary(1000);
  const std::string yaml = "[{mirostat: {tau: 1, eta: 2}}]";
  SamplerChain used = make_chain(yaml, vocabulary), fresh = make_chain(yaml, vocabulary);
  continue_with(used, vocabulary, 0, 20);
  EXPECT_NE(continue_with(used, vocabulary, 20, 60), continue_with(fresh, vocabulary, 20, 60));
}

}  // namespace
}  // namespace continuo::test
