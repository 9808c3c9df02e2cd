#include "nn/cuda/slot_cache.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "nn/aten/ops.h"
#include "nn/cuda/ops.h"
#include "nn/ragged_attention.h"
#include "support/expect_error.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

constexpr int64_t kHeads = 4, kKeyHeads = 2;

KeyLayer layer_of(int64_t dim) {
  return {.kv_heads = kKeyHeads, .key_dim = dim, .value_dim = dim, .format = KVFormat::bf16};
}

at::Tensor normal(at::IntArrayRef shape) {
  return at::randn(shape).to(at::kBFloat16).to(test::device());
}

// Two caches that are fed the same: what one pass reads of each must agree.
class SlotCacheTest : public testing::TestWithParam<AttendOptions> {
 protected:
  static constexpr int64_t kDim = 16;

  // Documents of `counts` new tokens continue the sequences `ids`.
  void feed(const std::vector<int64_t>& ids, const std::vector<int64_t>& counts) {
    std::vector<int64_t> boundaries = {0};
    for (const int64_t count : counts) boundaries.push_back(boundaries.back() + count);
    const int64_t rows = boundaries.back();
    for (size_t d = 0; d < ids.size(); ++d) {
      slots_.prepare(ids[d], counts[d]);
      reference_->prepare(ids[d], counts[d]);
    }
    for (int64_t layer = 0; layer < 2; ++layer) {
      const AttendInput in = {normal({rows, kHeads, kDim}), normal({rows, kKeyHeads, kDim}),
                              normal({rows, kKeyHeads, kDim}), boundaries, GetParam()};
      const at::Tensor got = cuda::attend_cached(in, {slots_, ids}, layer),
                       expected = aten::attend_cached(in, {*reference_, ids}, layer);
      EXPECT_LT(test::max_difference(got, expected), 0.02);
    }
    for (size_t d = 0; d < ids.size(); ++d) {
      slots_.commit(ids[d], counts[d]);
      reference_->commit(ids[d], counts[d]);
    }
  }
  int64_t add() {
    reference_->add();
    return slots_.add();
  }
  int64_t fork(int64_t id) {
    reference_->fork(id);
    return slots_.fork(id);
  }
  void remove(int64_t id) {
    reference_->remove(id);
    slots_.remove(id);
  }
  void truncate(int64_t id, int64_t length) {
    EXPECT_EQ(reference_->truncate(id, length), length);
    EXPECT_EQ(slots_.truncate(id, length), length);
  }

  const std::vector<LayerCache> layers_ = {layer_of(kDim), layer_of(kDim)};
  SlotCache slots_{layers_, test::device()};
  std::unique_ptr<KVCache> reference_ = aten::make_cache(layers_, test::device());
};

TEST_P(SlotCacheTest, SequencesThatComeGrowForkAndGoAreThoseOfTheReference) {
  const int64_t a = add(), b = add();
  feed({a}, {100});
  feed({a, b}, {1, 300});  // b's run lies behind a's, which has to move when it grows
  feed({b, a}, {1, 60});
  const int64_t c = fork(a);
  feed({c, a, b}, {3, 1, 1});
  truncate(b, 20);
  feed({b, c}, {5, 1});
  remove(a);
  const int64_t d = add();
  feed({d, b}, {140, 1});
  feed({b, c, d}, {200, 1, 1});
}

INSTANTIATE_TEST_SUITE_P(Options, SlotCacheTest,
                         testing::Values(AttendOptions{.scale = 0.25},
                                         AttendOptions{.scale = 0.25, .window = 33},
                                         AttendOptions{.scale = 0.25, .softcap = 2}));

TEST(SlotCache, RowsOfEndedSequencesAreTakenAgain) {
  const LayerCache layer = layer_of(8);
  SlotCache cache(std::span(&layer, 1), test::device());
  std::vector<int64_t> ids;
  for (int i = 0; i < 4; ++i) {
    ids.push_back(cache.add());
    cache.prepare(ids.back(), 1000);
    cache.commit(ids.back(), 1000);
  }
  const int64_t bytes = cache.bytes();
  for (const int64_t id : ids) cache.remove(id);
  // One of them needs what all had together, in one piece.
  const int64_t id = cache.add();
  cache.prepare(id, 4000);
  EXPECT_EQ(cache.bytes(), bytes);
  EXPECT_EQ(cache.start(id), 0);
}

TEST(SlotCache, OtherLayersAreErrors) {
  const LayerCache wide = KeyLayer{.kv_heads = 1, .key_dim = 8, .value_dim = 8};
  test::expect_error([&] { SlotCache(std::span(&wide, 1), test::device()); }, {"bf16"});
  const LayerCache both[] = {layer_of(8), StateLayer{.width = 4, .seen = 2, .held = 8}};
  EXPECT_EQ(dynamic_cast<SlotCache*>(cuda::make_cache(both, test::device()).get()), nullptr);
}

}  // namespace
}  // namespace continuo
