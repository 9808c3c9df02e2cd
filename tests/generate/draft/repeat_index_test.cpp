#include "generate/draft/repeat_index.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "core/random.h"

namespace continuo {
namespace {

using Ids = std::vector<TokenId>;

// All places compared; the longest match, of those the latest.
std::optional<RepeatMatch> slow_find(const Ids& history, size_t shortest) {
  RepeatMatch best;
  for (size_t next = history.size() - 1; next >= shortest && next < history.size(); --next) {
    size_t length = 0;
    while (length < std::min(next, RepeatIndex::kLongest) &&
           history[next - 1 - length] == history[history.size() - 1 - length]) {
      ++length;
    }
    if (length > best.length) best = {next, length};
  }
  if (best.length < shortest) return std::nullopt;
  return best;
}

TEST(RepeatIndex, FindsTheLongestMatchAndOfThoseTheLatest) {
  RepeatIndex index(2);
  const Ids history{1, 2, 3, 9, 2, 3, 8, 1, 2, 3};
  const auto match = index.find(history);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->next, 3u);
  EXPECT_EQ(match->length, 3u);
  RepeatIndex tie(2);
  EXPECT_EQ(tie.find(Ids{2, 3, 9, 2, 3, 8, 2, 3})->next, 5u);
}

TEST(RepeatIndex, FindsNothingInShortOrNewText) {
  RepeatIndex index(3);
  EXPECT_FALSE(index.find(Ids{1}));
  EXPECT_FALSE(index.find(Ids{1, 2, 3}));
  EXPECT_FALSE(index.find(Ids{1, 2, 3, 2, 3}));
  EXPECT_TRUE(index.find(Ids{1, 2, 3, 2, 3, 1, 2, 3}));
}

TEST(RepeatIndex, EqualsTheSlowSearchWhileAHistoryGrows) {
  const Random random(5, "repeats");
  for (const size_t shortest : {1, 2, 3}) {
    for (uint64_t salt = 0; salt < 20; ++salt) {
      RepeatIndex index(shortest);
      Ids history;
      size_t found = 0;
      for (uint64_t i = 0; i < 150; ++i) {
        // Few candidates of each gram, fewer than are tried at most.
        history.push_back(
            static_cast<TokenId>(random.uniform(salt * 1000 + i) * (shortest == 1 ? 24 : 12)));
        if (i % 4 == 3 && i > 60) {  // now and then a copy
          for (size_t k = 0; k < 5; ++k) history.push_back(history[static_cast<size_t>(i) + k]);
        }
        if (i % 3 == 1) continue;  // not asked after every token
        const auto fast = index.find(history), slow = slow_find(history, shortest);
        ASSERT_EQ(fast.has_value(), slow.has_value()) << i;
        if (!fast) continue;
        ++found;
        EXPECT_EQ(fast->length, slow->length) << i;
        EXPECT_EQ(fast->next, slow->next) << i;
      }
      EXPECT_GT(found, 10u);
    }
  }
}

}  // namespace
}  // namespace continuo
