#include "text/tokenizer/score_merges.h"

#include <array>

#include <gtest/gtest.h>

namespace continuo {
namespace {

std::vector<BpeVocabulary::Merge> merges_of(const std::vector<std::string>& pieces,
                                            const std::vector<float>& scores,
                                            const std::vector<bool>& joined) {
  StringIndex index(pieces.size());
  for (size_t id = 0; id < pieces.size(); ++id) index.insert(pieces, static_cast<int32_t>(id));
  return merges_of_scores(pieces, scores, joined, index);
}

TEST(ScoreMerges, AreAllWaysToCutAPieceBestPiecesFirst) {
  const auto merges = merges_of({"a", "b", "ab", "aba", "ba", "<a>"}, {-9, -9, -3, -1, -2, 0},
                                {true, true, true, true, true, false});
  const std::vector<std::array<TokenId, 3>> expected = {{0, 4, 3}, {2, 0, 3}, {1, 0, 4}, {0, 1, 2}};
  ASSERT_EQ(merges.size(), expected.size());
  for (size_t i = 0; i < merges.size(); ++i)
    EXPECT_EQ((std::array<TokenId, 3>{merges[i].left, merges[i].right, merges[i].merged}),
              expected[i]);
}

// As many as several threads look through.
TEST(ScoreMerges, OfManyPiecesAreThoseOfAPlainSearch) {
  std::vector<std::string> pieces;
  for (int length = 1; length <= 4; ++length) {
    for (int n = 0, all = 1 << (4 * length); n < all && n < 12000; ++n) {
      std::string& piece = pieces.emplace_back();
      for (int i = length; i-- > 0;) piece += static_cast<char>('a' + (n >> (4 * i)) % 16);
    }
  }
  std::vector<float> scores;
  std::vector<bool> joined;
  for (size_t id = 0; id < pieces.size(); ++id) {
    scores.push_back(static_cast<float>(id * 7919 % 1000));
    joined.push_back(id % 11 != 5);
  }
  const auto merges = merges_of(pieces, scores, joined);
  StringIndex index(pieces.size());
  for (size_t id = 0; id < pieces.size(); ++id) index.insert(pieces, static_cast<int32_t>(id));
  size_t expected = 0;
  for (size_t id = 0; id < pieces.size(); ++id) {
    for (size_t cut = 1; joined[id] && cut < pieces[id].size(); ++cut) {
      const auto left = index.find(pieces, pieces[id].substr(0, cut)),
                 right = index.find(pieces, pieces[id].substr(cut));
      expected += left && right && joined[*left] && joined[*right];
    }
  }
  EXPECT_EQ(merges.size(), expected);
  for (size_t i = 0; i < merges.size(); ++i) {
    const auto [left, right, merged] = merges[i];
    EXPECT_EQ(pieces[left] + pieces[right], pieces[merged]);
    if (i > 0) {
      EXPECT_GE(scores[merges[i - 1].merged], scores[merged]);
    }
  }
}

}  // namespace
}  // namespace continuo
