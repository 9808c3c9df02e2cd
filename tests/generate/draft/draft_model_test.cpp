#include "generate/draft/draft_model.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "generate/fake_executor.h"
#include "support/drafting.h"
#include "support/expect_error.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

using Ids = std::vector<TokenId>;

constexpr int64_t kSize = 30;

// What a sequence draws by itself, and the way to ask for drafts of it.
struct Asker {
  explicit Asker(const std::string& stages) : chain(make_chain(stages, small_vocabulary())) {}

  DraftQuery query(const Ids& history, int64_t limit, int64_t sequence = 0) const {
    return {.sequence = sequence,
            .history = history,
            .prompt_length = 2,
            .limit = limit,
            .cost = {},
            .pass_cost = 1e9,
            .chain = &chain,
            .noise = &noise};
  }

  SamplerChain chain;
  Noise noise{5, 0, 0};
};

Ids draft_one(DraftModel& model, const DraftQuery& query) {
  return model.draft(std::vector{query}).front();
}

TEST(DraftModel, DrawsWithTheNoiseOfTheSequence) {
  FakeExecutor target(kSize, 64, hashed_logits(kSize)), draft(kSize, 64, hashed_logits(kSize));
  const GenerationConfig config =
      generation_of("{seed: 5, sampler: [{temperature: 1}], ignore_eos: true, max_new_tokens: 9}");
  const std::vector<Ids> prompts{{3, 4}};
  const auto plain = Generator(target, small_vocabulary(), config).generate(prompts);
  DraftModel model(draft, small_vocabulary());
  const Asker asker("[{temperature: 1}]");
  const Ids drafted = draft_one(model, asker.query({3, 4}, 9));
  ASSERT_EQ(drafted.size(), 9u);
  for (size_t i = 0; i < 9; ++i) EXPECT_EQ(drafted[i], plain.completions[0].tokens[i].id);
}

// However drafts are cut, accepted and rejected, the cache follows the history: drafts are those of
// a fresh model.
void follow_the_history(bool forgetful) {
  FakeExecutor executor(kSize, 64, hashed_logits(kSize)), other(kSize, 64, hashed_logits(kSize));
  executor.forgetful = forgetful;
  DraftModel model(executor, small_vocabulary(), 3);
  const Asker asker("[{temperature: 1}, {repetition: 1.2}]");
  const Random random(2, "walk");
  Ids history{3, 4};
  for (uint64_t round = 0; round < 12; ++round) {
    DraftModel fresh(other, small_vocabulary());
    const auto limit = static_cast<int64_t>(random.uniform(3 * round) * 5);
    const Ids drafted = draft_one(model, asker.query(history, limit));
    EXPECT_EQ(drafted, draft_one(fresh, asker.query(history, limit)));
    const auto accepted = static_cast<size_t>(random.uniform(3 * round + 1) *
                                              static_cast<double>(drafted.size() + 1));
    if (!drafted.empty()) model.learn(0, static_cast<int64_t>(accepted), accepted < drafted.size());
    history.insert(history.end(), drafted.begin(), drafted.begin() + static_cast<long>(accepted));
    history.push_back(static_cast<TokenId>(random.uniform(3 * round + 2) * kSize));
  }
}

TEST(DraftModel, FollowsTheHistory) { follow_the_history(false); }

TEST(DraftModel, FeedsAgainWhatItsCacheForgot) { follow_the_history(true); }

TEST(DraftModel, DraftsWithItsAdapter) {
  FakeExecutor executor(kSize, 64, hashed_logits(kSize));
  const int64_t adapter = executor.add_adapter({});
  DraftModel plain(executor, small_vocabulary()),
      with_adapter(executor, small_vocabulary(), 512, adapter);
  const Asker asker("[greedy]");
  const Ids history(12, 4);
  const auto first = [&](int64_t turns) {
    std::vector<float> logits = hashed_logits(kSize)(history);
    std::rotate(logits.begin(), logits.begin() + turns, logits.end());
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  };
  EXPECT_EQ(draft_one(plain, asker.query(history, 1)), Ids{static_cast<TokenId>(first(0))});
  EXPECT_EQ(draft_one(with_adapter, asker.query(history, 1)),
            Ids{static_cast<TokenId>(first(adapter + 1))});
  // Sequences that share what another one holds, and the one that ended last, keep it.
  for (int64_t sequence = 1; sequence < 4; ++sequence) {
    EXPECT_EQ(draft_one(with_adapter, asker.query(history, 1, sequence)),
              Ids{static_cast<TokenId>(first(adapter + 1))});
    if (sequence == 2) {
      for (const int64_t past : {0, 1, 2}) with_adapter.forget(past);
    }
  }
}

TEST(DraftModel, SamplesOfOnePromptShareIt) {
  FakeExecutor executor(kSize, 64, hashed_logits(kSize));
  DraftModel model(executor, small_vocabulary());
  const Asker asker("[greedy]");
  const Ids prompt(20, 6);
  const std::vector queries{asker.query(prompt, 1, 0), asker.query(prompt, 1, 1),
                            asker.query(prompt, 1, 2)};
  model.draft(queries);
  EXPECT_EQ(executor.forwards, 2);  // the prompt once, then a token of each
  EXPECT_EQ(executor.largest_batch, 3);
}

TEST(DraftModel, StaysInItsContext) {
  FakeExecutor executor(kSize, 8, hashed_logits(kSize));
  DraftModel model(executor, small_vocabulary());
  const Asker asker("[greedy]");
  EXPECT_EQ(draft_one(model, asker.query(Ids(6, 4), 9)).size(), 3u);
  EXPECT_TRUE(draft_one(model, asker.query(Ids(9, 4), 9)).empty());
}

TEST(DraftModel, StopsDraftingWhatDoesNotPay) {
  FakeExecutor executor(kSize, 64, hashed_logits(kSize));
  DraftModel model(executor, small_vocabulary());
  const Asker asker("[{temperature: 1}]");
  DraftQuery query = asker.query({3, 4}, 8);
  query.cost.time.extra = 0.2;
  for (int i = 0; i < 100; ++i) {
    if (!draft_one(model, query).empty()) model.learn(0, 0, true);
  }
  const int64_t forwards = executor.forwards;
  EXPECT_TRUE(draft_one(model, query).empty());
  EXPECT_EQ(executor.forwards, forwards);
}

TEST(DraftModel, ForgottenSequencesLeaveOneBehind) {
  FakeExecutor executor(kSize, 64, hashed_logits(kSize));
  DraftModel model(executor, small_vocabulary());
  const Asker asker("[greedy]");
  int64_t bytes = 0;
  for (int64_t sequence = 0; sequence < 20; ++sequence) {
    draft_one(model, asker.query(Ids(12, static_cast<TokenId>(3 + sequence)), 2, sequence));
    model.forget(sequence);
    if (sequence == 0) bytes = model.cache_bytes();
    EXPECT_EQ(model.cache_bytes(), bytes);
  }
  model.forget(99);  // never drafted for
}

TEST(DraftModel, FaultsOfItsLogitsEndADraft) {
  FakeExecutor executor(kSize, 64, [](std::span<const TokenId> history) {
    std::vector<float> logits(kSize, 0);
    if (history.size() == 4) logits[2] = std::numeric_limits<float>::quiet_NaN();
    return logits;
  });
  DraftModel model(executor, small_vocabulary());
  const Asker asker("[greedy]");
  EXPECT_EQ(draft_one(model, asker.query({3, 4}, 9)).size(), 2u);
}

TEST(DraftModel, MustKnowAllTokens) {
  FakeExecutor executor(20, 64, hashed_logits(20));
  expect_error([&] { DraftModel(executor, small_vocabulary()); }, {"20 tokens", "30"});
}

}  // namespace
}  // namespace continuo::test
