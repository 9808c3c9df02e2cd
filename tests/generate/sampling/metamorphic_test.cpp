// What must not matter: which ids tokens have, a constant added to all logits, doing it twice.
#include <numeric>

#include "support/row_fixture.h"

namespace continuo::test {
namespace {

const std::vector<std::string> kStages{"greedy",
                                       "temperature: 0.6",
                                       "temperature: {value: 1, range: 0.4}",
                                       "top_k: 7",
                                       "top_p: 0.8",
                                       "min_p: 0.1",
                                       "typical: 0.7",
                                       "epsilon: 0.02",
                                       "eta: 0.02",
                                       "top_n_sigma: 1.3",
                                       "xtc: {probability: 1, threshold: 0.05}",
                                       "mirostat: 3",
                                       "repetition: 1.3",
                                       "frequency: 0.4",
                                       "presence: 0.4",
                                       "dry: 1",
                                       "no_repeat_ngram: 2",
                                       "min_new_tokens: 2"};

const std::vector<TokenId> kHistory{1, 4, 7, 10, 4, 7};

TEST(Metamorphic, ShiftingAllLogitsShiftsTheResult) {
  for (const std::string& stage : kStages) {
    for (uint64_t seed = 0; seed < 8; ++seed) {
      const Row row = random_row(seed, 30);
      Row shifted = row;
      for (auto& [id, l] : shifted) l += 64;
      const Row a = apply_chain("- " + stage, row, kHistory);
      const Row b = apply_chain("- " + stage, shifted, kHistory);
      ASSERT_EQ(kept(a), kept(b)) << stage;
      const auto p = slow_softmax(a), q = slow_softmax(b);
      for (const auto& [id, x] : p)
        EXPECT_NEAR(static_cast<double>(x), static_cast<double>(q.at(id)), 1e-9) << stage;
    }
  }
}

TEST(Metamorphic, TheRawRepetitionFormIsTheOneThatDependsOnTheOffset) {
  const Row row{{4, 1.}, {5, 1.}};
  const auto p = slow_softmax(apply_chain("[{repetition: {penalty: 2, form: raw}}]", row, {4}));
  Row shifted{{4, -9.}, {5, -9.}};
  const auto q = slow_softmax(apply_chain("[{repetition: {penalty: 2, form: raw}}]", shifted, {4}));
  EXPECT_GT(std::abs(static_cast<double>(p.at(4) - q.at(4))), 0.1);
}

TEST(Metamorphic, PermutingIdsPermutesTheResult) {
  for (const std::string& stage : kStages) {
    for (uint64_t seed = 0; seed < 8; ++seed) {
      // Without ties, ids carry no meaning; specials keep theirs.
      Row row, permuted;
      const Random random(seed, "permute");
      const Permutation permutation(26, seed, 0);
      std::map<TokenId, TokenId> to{{0, 0}, {1, 1}, {2, 2}};
      for (TokenId i = 0; i < 26; ++i) {
        to[i + 3] = static_cast<TokenId>(permutation(i)) + 3;
      }
      to[10] = to[10];
      for (TokenId i = 0; i < 29; ++i) {
        row[i] = 2 * random.normal(static_cast<uint64_t>(i));
        permuted[to[i]] = row[i];
      }
      std::vector<TokenId> history{1, 4, 7, 12, 4, 7}, permuted_history;
      for (TokenId id : history) permuted_history.push_back(to[id]);
      const std::string yaml =
          stage == "dry: 1" ? "- dry: {multiplier: 1, breakers: []}" : "- " + stage;
      const Row a = apply_chain(yaml, row, history),
                b = apply_chain(yaml, permuted, permuted_history);
      ASSERT_EQ(a.size(), b.size()) << stage;
      for (const auto& [id, l] : a) {
        ASSERT_TRUE(b.count(to[id])) << stage;
        EXPECT_NEAR(l, b.at(to[id]), 1e-9) << stage;
      }
    }
  }
}

TEST(Metamorphic, SomeStagesAreIdempotent) {
  for (const char* stage : {"greedy", "top_k: 7", "min_p: 0.1", "no_repeat_ngram: 2"}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const Row row = random_row(seed, 60);
      EXPECT_EQ(apply_chain(fmt::format("- {}", stage), row, kHistory),
                apply_chain(fmt::format("- {0}\n- {0}", stage), row, kHistory));
    }
  }
}

TEST(Metamorphic, AndSomeAreNot) {
  const Row row = row_from_probabilities({.4, .3, .2, .1});
  EXPECT_NE(kept(apply_chain("[{top_p: 0.6}]", row)),
            kept(apply_chain("[{top_p: 0.6}, {top_p: 0.4}]", row)));
  EXPECT_EQ(kept(apply_chain("[{top_p: 0.75}]", row)), (std::vector<TokenId>{0, 1, 2}));
  EXPECT_EQ(kept(apply_chain("[{top_p: 0.75}, {top_p: 0.75}]", row)), (std::vector<TokenId>{0, 1}));
}

TEST(Metamorphic, TruncationsIgnoreWhatTheyRemovedBefore) {
  // top_n_sigma does not depend on the temperature before it.
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Row row = random_row(seed, 50);
    EXPECT_EQ(kept(apply_chain("[{top_n_sigma: 1.1}]", row)),
              kept(apply_chain("[{temperature: 3}, {top_n_sigma: 1.1}]", row)));
  }
}

}  // namespace
}  // namespace continuo::test
