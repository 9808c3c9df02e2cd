#include "generate/sampling/history_scope.h"

#include <map>

#include "support/row_fixture.h"

namespace continuo::test {
namespace {

using Ids = std::vector<TokenId>;

std::map<TokenId, int64_t> counted(TokenCounter& counter, const HistoryScope& scope,
                                   const Ids& history, size_t prompt_length = 0) {
  static const Vocabulary vocabulary = small_vocabulary();
  const Noise noise(0, 0, 0);
  counter.count(scope, {history, prompt_length, vocabulary, noise});
  std::map<TokenId, int64_t> counts;
  for (size_t i = 0; i < counter.ids().size(); ++i) counts[counter.ids()[i]] = counter.counts()[i];
  EXPECT_EQ(counts.size(), counter.ids().size());
  return counts;
}

TEST(TokenCounter, CountsTheScope) {
  const Ids history{5, 3, 4, 4, 1};
  TokenCounter counter;
  using Counts = std::map<TokenId, int64_t>;
  EXPECT_EQ(counted(counter, {}, history, 2), (Counts{{4, 2}}));
  EXPECT_EQ(counted(counter, {.scope = Scope::kAll}, history, 2), (Counts{{3, 1}, {4, 2}, {5, 1}}));
  EXPECT_EQ(counted(counter, {.scope = Scope::kWindow, .window = 2}, history, 2), (Counts{{4, 1}}));
  EXPECT_EQ(counted(counter, {.scope = Scope::kWindow, .window = 0}, history, 2), Counts{});
  TokenCounter all;
  EXPECT_EQ(counted(all, {.scope = Scope::kAll, .exempt_special = false}, history, 2),
            (Counts{{1, 1}, {3, 1}, {4, 2}, {5, 1}}));
}

TEST(TokenCounter, WhateverItSawBeforeChangesNothing) {
  // Histories that grow, shrink, branch off and have nothing in common.
  const Random random(5, "history");
  TokenCounter used;
  Ids history;
  for (uint64_t step = 0; step < 400; ++step) {
    const uint64_t choice = random.below(10, step);
    if (choice == 0) history.resize(random.below(history.size() + 1, step, 1));
    if (choice == 1 && !history.empty()) history[random.below(history.size(), step, 2)] = 7;
    history.push_back(static_cast<TokenId>(random.below(20, step, 3)));
    TokenCounter fresh;
    ASSERT_EQ(counted(used, {.scope = Scope::kAll}, history),
              counted(fresh, {.scope = Scope::kAll}, history))
        << step;
  }
}

}  // namespace
}  // namespace continuo::test
