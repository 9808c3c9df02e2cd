#include "nn/kv_cache.h"

#include <ATen/ops/full.h>
#include <gtest/gtest.h>

namespace continuo {
namespace {

KVCache small() { return KVCache({.layers = 2, .kv_heads = 3, .head_dim = 4}); }

// Writes `value` for `count` new positions of every layer.
void extend(KVCache& cache, int64_t id, int64_t count, double value) {
  cache.reserve(id, count);
  for (int64_t layer = 0; layer < 2; ++layer)
    cache.storage(id, layer).narrow(2, cache.length(id), count).fill_(value);
  cache.commit(id, count);
}

TEST(KVCache, GrowsWithoutLosingWhatItHolds) {
  KVCache cache = small();
  const int64_t id = cache.add();
  for (int i = 0; i < 700; ++i) extend(cache, id, 1, i);
  ASSERT_EQ(cache.length(id), 700);
  for (const int64_t at : {0, 127, 128, 699}) {
    EXPECT_EQ(cache.storage(id, 1).select(2, at).min().item<double>(), static_cast<double>(at));
  }
}

TEST(KVCache, AForkSharesNothingAfterwards) {
  KVCache cache = small();
  const int64_t first = cache.add();
  extend(cache, first, 5, 1);
  const int64_t second = cache.fork(first);
  extend(cache, second, 1, 7);
  cache.storage(first, 0).narrow(2, 0, 5).fill_(9);
  EXPECT_EQ(cache.length(first), 5);
  EXPECT_EQ(cache.length(second), 6);
  EXPECT_EQ(cache.storage(second, 0).narrow(2, 0, 5).max().item<double>(), 1.0);
}

TEST(KVCache, RemovedSequencesGiveTheirMemoryAndIdBack) {
  KVCache cache = small();
  const int64_t first = cache.add(), second = cache.add();
  extend(cache, first, 5, 1);
  extend(cache, second, 5, 2);
  const int64_t both = cache.bytes();
  cache.remove(first);
  EXPECT_EQ(cache.bytes(), both / 2);
  EXPECT_EQ(cache.add(), first);
  EXPECT_EQ(cache.length(first), 0);
}

TEST(KVCache, TruncateKeepsThePrefix) {
  KVCache cache = small();
  const int64_t id = cache.add();
  extend(cache, id, 5, 1);
  cache.truncate(id, 9);
  EXPECT_EQ(cache.length(id), 5);
  cache.truncate(id, 2);
  extend(cache, id, 1, 3);
  EXPECT_EQ(cache.length(id), 3);
  EXPECT_EQ(cache.storage(id, 0).select(2, 1).max().item<double>(), 1.0);
  EXPECT_EQ(cache.storage(id, 0).select(2, 2).max().item<double>(), 3.0);
}

}  // namespace
}  // namespace continuo
