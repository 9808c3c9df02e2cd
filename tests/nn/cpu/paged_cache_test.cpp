#include "nn/cpu/paged_cache.h"

#include <vector>

#include <gtest/gtest.h>

#include "nn/cpu/kernels/kernels.h"

namespace continuo {
namespace {

constexpr int64_t kHeadDim = 20;  // values are padded, keys are not

KeyLayer key_layer(int64_t window, KVFormat format = KVFormat::f32) {
  return {.kv_heads = 2,
          .key_dim = kHeadDim,
          .value_dim = kHeadDim,
          .window = window,
          .format = format};
}

PagedKVCache paged(const std::vector<KeyLayer>& layers) {
  return PagedKVCache(std::vector<LayerCache>(layers.begin(), layers.end()));
}

// Writes token after token; its key is `value`, its value −`value`.
void write_tokens(PagedKVCache& cache, int64_t id, int64_t layers, int64_t count, float value) {
  cache.prepare(id, count);
  const std::vector<float> key(kHeadDim, value), negative(kHeadDim, -value);
  for (int64_t t = cache.length(id); t < cache.length(id) + count; ++t) {
    for (int64_t layer = 0; layer < layers; ++layer) {
      for (int64_t head = 0; head < 2; ++head) {
        const auto page = cache.head_page(id, layer, t / kPageKeys, head);
        kernels().page_f32.write({.key_dim = kHeadDim,
                                  .value_dim = kHeadDim,
                                  .at = t % kPageKeys,
                                  .key = key.data(),
                                  .value = negative.data(),
                                  .keys = reinterpret_cast<float*>(page.keys),
                                  .values = reinterpret_cast<float*>(page.values),
                                  .key_scales = page.key_scales,
                                  .value_scales = page.value_scales});
      }
    }
  }
  cache.commit(id, count);
}

float key_at(const PagedKVCache& cache, int64_t id, int64_t layer, int64_t token) {
  const auto page = cache.head_page(id, layer, token / kPageKeys, 1);
  const int64_t at = token % kPageKeys;
  return reinterpret_cast<const float*>(page.keys)[at / kKeyGroup * kHeadDim * kKeyGroup +
                                                   (kHeadDim - 1) * kKeyGroup + at % kKeyGroup];
}
float value_at(const PagedKVCache& cache, int64_t id, int64_t layer, int64_t token) {
  const auto page = cache.head_page(id, layer, token / kPageKeys, 1);
  return reinterpret_cast<const float*>(
      page.values)[token % kPageKeys * padded_dim(kHeadDim) + kHeadDim - 1];
}

TEST(PagedKVCache, GrowsWithoutLosingWhatItHolds) {
  PagedKVCache cache = paged({key_layer(0), key_layer(0)});
  const int64_t id = cache.add();
  int64_t before = 0;
  for (int i = 0; i < 700; ++i) {
    write_tokens(cache, id, 2, 1, static_cast<float>(i));
    EXPECT_GE(cache.bytes(), before);
    before = cache.bytes();
  }
  ASSERT_EQ(cache.length(id), 700);
  for (const int64_t at : {0, 31, 32, 255, 256, 511, 512, 699}) {
    EXPECT_EQ(key_at(cache, id, 1, at), static_cast<float>(at));
    EXPECT_EQ(value_at(cache, id, 1, at), -static_cast<float>(at));
  }
}

TEST(PagedKVCache, TheLastPageTakesOnlyTheMemoryOfItsSizeClass) {
  PagedKVCache cache = paged({key_layer(0)});
  const int64_t id = cache.add();
  const int64_t token = 2 * (kHeadDim + padded_dim(kHeadDim)) * 4;
  EXPECT_EQ(cache.bytes(), 0);
  write_tokens(cache, id, 1, 5, 1);
  EXPECT_EQ(cache.bytes(), 32 * token);
  write_tokens(cache, id, 1, 28, 1);
  EXPECT_EQ(cache.bytes(), 64 * token);
  write_tokens(cache, id, 1, 256 - 33, 1);
  EXPECT_EQ(cache.bytes(), 256 * token);
  write_tokens(cache, id, 1, 1, 1);
  EXPECT_EQ(cache.bytes(), (256 + 32) * token);
}

TEST(PagedKVCache, ForksShareWholePagesAndNothingThatOneOfThemWrites) {
  PagedKVCache cache = paged({key_layer(0)});
  const int64_t first = cache.add();
  write_tokens(cache, first, 1, 600, 1);
  const int64_t one = cache.bytes();
  const int64_t second = cache.fork(first), third = cache.fork(first);
  EXPECT_EQ(cache.bytes(), one) << "a fork copies nothing by itself";
  write_tokens(cache, second, 1, 1, 2);
  write_tokens(cache, first, 1, 1, 3);
  EXPECT_EQ(key_at(cache, second, 0, 600), 2);
  EXPECT_EQ(key_at(cache, first, 0, 600), 3);
  EXPECT_EQ(cache.length(third), 600);
  EXPECT_EQ(key_at(cache, third, 0, 599), 1);
  EXPECT_LT(cache.bytes(), 2 * one) << "the full pages are one memory";
  cache.remove(first);
  EXPECT_EQ(key_at(cache, third, 0, 10), 1);
  EXPECT_EQ(key_at(cache, second, 0, 599), 1);
  cache.remove(second);
  cache.remove(third);
  EXPECT_EQ(cache.bytes(), 0);
}

TEST(PagedKVCache, ATruncatedForkLeavesTheOthersTokensAlone) {
  PagedKVCache cache = paged({key_layer(0)});
  const int64_t first = cache.add();
  write_tokens(cache, first, 1, 300, 1);
  const int64_t second = cache.fork(first);
  EXPECT_EQ(cache.truncate(second, 100), 100);
  write_tokens(cache, second, 1, 3, 5);
  EXPECT_EQ(key_at(cache, second, 0, 99), 1);
  EXPECT_EQ(key_at(cache, second, 0, 100), 5);
  EXPECT_EQ(key_at(cache, first, 0, 100), 1);
  EXPECT_EQ(key_at(cache, first, 0, 299), 1);
}

TEST(PagedKVCache, PagesBehindAWindowAreFreed) {
  PagedKVCache windowed = paged({key_layer(300)}), whole = paged({key_layer(0)});
  const int64_t a = windowed.add(), b = whole.add();
  for (int i = 0; i < 40; ++i) {
    write_tokens(windowed, a, 1, 100, static_cast<float>(i));
    write_tokens(whole, b, 1, 100, static_cast<float>(i));
  }
  EXPECT_LT(windowed.bytes(), whole.bytes() / 3);
  for (const int64_t seen : {3999, 3701}) {
    EXPECT_EQ(key_at(windowed, a, 0, seen), static_cast<float>(seen / 100));
  }
  // A little is no loss; where what the tokens saw is gone, nothing can be held.
  EXPECT_EQ(windowed.truncate(a, 3900), 3900);
  EXPECT_EQ(windowed.truncate(a, 2000), 0);
  EXPECT_EQ(windowed.bytes(), 0);
  EXPECT_EQ(whole.truncate(b, 2000), 2000);
  write_tokens(windowed, a, 1, 2, 9);
  EXPECT_EQ(key_at(windowed, a, 0, 1), 9);
}

TEST(PagedKVCache, FewerBitsTakeLessMemory) {
  PagedKVCache f32 = paged({key_layer(0)}), bf16 = paged({key_layer(0, KVFormat::bf16)}),
               q8 = paged({key_layer(0, KVFormat::q8)});
  for (PagedKVCache* cache : {&f32, &bf16, &q8}) cache->prepare(cache->add(), 256);
  EXPECT_EQ(bf16.bytes(), f32.bytes() / 2);
  EXPECT_EQ(q8.bytes(), f32.bytes() / 4 + 256 * 2 * 2 * 4);
}

}  // namespace
}  // namespace continuo
