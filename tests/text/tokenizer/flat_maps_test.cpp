#include "text/tokenizer/flat_maps.h"

#include <map>
#include <random>
#include <string>

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(StringIndex, FindsWhatWasInsertedAndNothingElse) {
  std::vector<std::string> texts;
  for (int i = 0; i < 5000; ++i)
    texts.push_back("token" + std::string(i % 40, 'x') + std::to_string(i));
  texts.push_back(texts[7]);
  for (const size_t expected : {texts.size(), size_t{3}}) {  // the second has to grow
    StringIndex index(expected);
    for (size_t i = 0; i < texts.size(); ++i)
      ASSERT_EQ(index.insert(texts, static_cast<int32_t>(i)), i < 5000);
    for (size_t i = 0; i < 5000; ++i)
      ASSERT_EQ(index.find(texts, texts[i]), static_cast<int32_t>(i));
    EXPECT_EQ(index.find(texts, "absent"), std::nullopt);
    EXPECT_EQ(index.find(texts, ""), std::nullopt);
  }
  EXPECT_EQ(StringIndex().find({}, "x"), std::nullopt);
}

TEST(PairMap, TheLastOfEqualPairsCounts) {
  std::mt19937 random(2);
  std::map<std::pair<TokenId, TokenId>, uint32_t> expected;
  PairMap map(3000);
  for (uint32_t i = 0; i < 3000; ++i) {
    auto left = static_cast<TokenId>(random() % 100), right = static_cast<TokenId>(random() % 100);
    expected[{left, right}] = i;
    map.set(left, right, {i, 1});
  }
  for (TokenId left = 0; left < 100; ++left) {
    for (TokenId right = 0; right < 100; ++right) {
      const PairMap::Value* found = map.find(left, right);
      auto known = expected.find({left, right});
      ASSERT_EQ(found != nullptr, known != expected.end());
      if (found) {
        ASSERT_EQ(found->rank, known->second);
      }
    }
  }
  EXPECT_EQ(PairMap().find(0, 0), nullptr);
}

}  // namespace
}  // namespace continuo
