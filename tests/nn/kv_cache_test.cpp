// What every cache promises, on the reference's plain tensors.
#include "nn/aten/kv_cache.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace continuo {
namespace {

TensorKVCache small_cache() {
  const std::vector<LayerCache> layers(2, KeyLayer{.kv_heads = 3, .key_dim = 4, .value_dim = 4});
  return TensorKVCache(layers, at::kCPU);
}

// Writes `value` for `count` new positions of every layer.
void extend(TensorKVCache& cache, int64_t id, int64_t count, double value) {
  cache.prepare(id, count);
  for (int64_t layer = 0; layer < 2; ++layer)
    cache.storage(id, layer).narrow(2, cache.length(id), count).fill_(value);
  cache.commit(id, count);
}

TEST(TensorKVCache, GrowsWithoutLosingWhatItHolds) {
  TensorKVCache cache = small_cache();
  const int64_t id = cache.add();
  for (int i = 0; i < 700; ++i) extend(cache, id, 1, i);
  ASSERT_EQ(cache.length(id), 700);
  for (const int64_t at : {0, 127, 128, 699}) {
    EXPECT_EQ(cache.storage(id, 1).select(2, at).min().item<double>(), static_cast<double>(at));
  }
}

TEST(TensorKVCache, AForkSharesNothingAfterwards) {
  TensorKVCache cache = small_cache();
  const int64_t first = cache.add();
  extend(cache, first, 5, 1);
  const int64_t second = cache.fork(first);
  extend(cache, second, 1, 7);
  cache.storage(first, 0).narrow(2, 0, 5).fill_(9);
  EXPECT_EQ(cache.length(first), 5);
  EXPECT_EQ(cache.length(second), 6);
  EXPECT_EQ(cache.storage(second, 0).narrow(2, 0, 5).max().item<double>(), 1.0);
}

TEST(TensorKVCache, RemovedSequencesGiveTheirMemoryAndIdBack) {
  TensorKVCache cache = small_cache();
  const int64_t first = cache.add(), second = cache.add();
  extend(cache, first, 5, 1);
  extend(cache, second, 5, 2);
  const int64_t both = cache.bytes();
  cache.remove(first);
  EXPECT_EQ(cache.bytes(), both / 2);
  EXPECT_EQ(cache.add(), first);
  EXPECT_EQ(cache.length(first), 0);
}

TEST(TensorKVCache, TruncateKeepsThePrefix) {
  TensorKVCache cache = small_cache();
  const int64_t id = cache.add();
  extend(cache, id, 5, 1);
  EXPECT_EQ(cache.truncate(id, 9), 5);
  EXPECT_EQ(cache.truncate(id, 2), 2);
  extend(cache, id, 1, 3);
  EXPECT_EQ(cache.length(id), 3);
  EXPECT_EQ(cache.storage(id, 0).select(2, 1).max().item<double>(), 1.0);
  EXPECT_EQ(cache.storage(id, 0).select(2, 2).max().item<double>(), 3.0);
}

TEST(TensorKVCache, EightBitsAreRefused) {
  const std::vector<LayerCache> layers = {
      KeyLayer{.kv_heads = 1, .key_dim = 4, .value_dim = 4, .format = KVFormat::q8}};
  test::expect_error([&] { TensorKVCache(layers, at::kCPU); }, {"8-bit", "engine"});
}

TEST(CacheLayout, CountsWhatEachLayerKeeps) {
  ModelSpec spec;
  for (const int64_t window : {0, 10}) {
    BlockSpec& block = spec.blocks.emplace_back();
    block.attend() = {.heads = 4, .kv_heads = 2, .dim = 8, .window = window};
  }
  const std::vector<LayerCache> wide = cache_layout(spec, KVFormat::f32),
                                half = cache_layout(spec, KVFormat::bf16),
                                narrow = cache_layout(spec, KVFormat::q8);
  EXPECT_EQ(cache_bytes(wide, 1), 2 * 2 * 2 * 8 * 4);
  EXPECT_EQ(cache_bytes(wide, 25), (25 + 10) * 2 * 2 * 8 * 4);
  EXPECT_EQ(cache_bytes(half, 1), cache_bytes(wide, 1) / 2);
  EXPECT_EQ(cache_bytes(narrow, 1), 2 * 2 * 2 * (8 + 4)) << "with a scale for each of them";
}

}  // namespace
}  // namespace continuo
