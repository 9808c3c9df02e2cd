#include "generate/draft/prompt_lookup.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

using Ids = std::vector<TokenId>;

Ids draft_of(PromptLookup& lookup, const Ids& history, int64_t limit = 4, double row_cost = 0) {
  const DraftQuery query{.sequence = 7,
                         .history = history,
                         .prompt_length = 1,
                         .limit = limit,
                         .cost = {.time = {.extra = row_cost}}};
  return lookup.draft(std::vector{query}).front();
}

TEST(PromptLookup, ProposesWhatFollowed) {
  PromptLookup lookup(2);
  EXPECT_EQ(draft_of(lookup, {4, 5, 6, 7, 8, 9, 1, 4, 5}), (Ids{6, 7, 8, 9}));
  PromptLookup other(2);
  EXPECT_EQ(draft_of(other, {4, 5, 6, 7, 8, 9, 1, 4, 5}, 2), (Ids{6, 7}));
  EXPECT_TRUE(draft_of(other, {4, 5, 6, 7, 8, 9, 1, 4, 5}, 0).empty());
}

TEST(PromptLookup, GoesOnWithALoop) {
  PromptLookup lookup(2);
  EXPECT_EQ(draft_of(lookup, {1, 2, 3, 1, 2, 3}, 7), (Ids{1, 2, 3, 1, 2, 3, 1}));
  PromptLookup other(1);
  EXPECT_EQ(draft_of(other, {5, 5}, 3), (Ids{5, 5, 5}));
}

TEST(PromptLookup, ProposesNothingWithoutAMatch) {
  PromptLookup lookup(3);
  EXPECT_TRUE(draft_of(lookup, {1}).empty());
  EXPECT_TRUE(draft_of(lookup, {1, 2, 9, 1, 2}).empty());
}

TEST(PromptLookup, LearnsWhatPays) {
  PromptLookup lookup(2);
  const Ids history{4, 5, 6, 7, 8, 9, 1, 4, 5};
  const size_t at_first = draft_of(lookup, history, 4, 0.1).size();
  EXPECT_GE(at_first, 1u);
  for (int i = 0; i < 30; ++i) lookup.learn(7, 4, false);
  EXPECT_EQ(draft_of(lookup, history, 4, 0.1).size(), 4u);
  for (int i = 0; i < 60; ++i) lookup.learn(7, 0, true);
  EXPECT_TRUE(draft_of(lookup, history, 4, 0.1).empty());
  // What did not pay is tried again after a while.
  int declined = 0;
  while (draft_of(lookup, history, 4, 0.1).empty() && declined < 1000) ++declined;
  EXPECT_GT(declined, 10);
  EXPECT_LT(declined, 1000);
}

TEST(PromptLookup, AForgottenSequenceBeginsAnew) {
  PromptLookup lookup(2);
  draft_of(lookup, {4, 5, 6, 7, 8, 9, 1, 4, 5});
  lookup.forget(7);
  EXPECT_TRUE(draft_of(lookup, {4, 5}).empty());
  EXPECT_EQ(draft_of(lookup, {4, 5, 3, 4, 5}, 1), (Ids{3}));
}

}  // namespace
}  // namespace continuo
