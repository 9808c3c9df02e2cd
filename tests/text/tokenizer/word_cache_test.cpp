#include "text/tokenizer/word_cache.h"

#include <thread>

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(WordCache, KeepsAWordForItsOwner) {
  WordCache& cache = WordCache::of_this_thread();
  std::vector<TokenId> ids = {5, 6, 7};
  WordCache::Slot& slot = cache.slot(901, "word");
  slot.store(901, "word", ids);
  EXPECT_TRUE(cache.slot(901, "word").holds(901, "word"));
  EXPECT_FALSE(slot.holds(902, "word"));
  EXPECT_FALSE(slot.holds(901, "wore"));
  EXPECT_FALSE(slot.holds(901, "words"));
  EXPECT_EQ(std::vector<TokenId>(slot.result().begin(), slot.result().end()), ids);
  bool elsewhere = true;
  std::thread([&] {
    elsewhere = WordCache::of_this_thread().slot(901, "word").holds(901, "word");
  }).join();
  EXPECT_FALSE(elsewhere);
}

TEST(WordCache, HoldsTheLongestWordsAndNone) {
  WordCache& cache = WordCache::of_this_thread();
  std::string word(WordCache::kMaxBytes, 'x');
  std::vector<TokenId> ids(WordCache::kMaxIds, 3);
  cache.slot(903, word).store(903, word, ids);
  EXPECT_TRUE(cache.slot(903, word).holds(903, word));
  EXPECT_EQ(cache.slot(903, word).result().size(), WordCache::kMaxIds);
  cache.slot(903, "").store(903, "", {});
  EXPECT_TRUE(cache.slot(903, "").holds(903, ""));
}

}  // namespace
}  // namespace continuo
