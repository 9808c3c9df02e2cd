#include "nn/ragged_attention.h"

#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;

// One document at a time, in double, with an explicit mask.
at::Tensor reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::vector<int64_t>& b, const AttendOptions& limits) {
  const int64_t group = q.size(1) / k.size(1);
  std::vector<at::Tensor> out;
  for (size_t d = 0; d + 1 < b.size(); ++d) {
    const int64_t n = b[d + 1] - b[d];
    const auto cut = [&](const at::Tensor& x) { return x.narrow(0, b[d], n).transpose(0, 1); };
    const at::Tensor keys = cut(k).repeat_interleave(group, 0),
                     values = cut(v).repeat_interleave(group, 0);
    at::Tensor scores = at::matmul(cut(q), keys.transpose(1, 2)) * limits.scale;
    if (limits.softcap > 0) scores = at::tanh(scores / limits.softcap) * limits.softcap;
    at::Tensor unseen = at::ones({n, n}, at::TensorOptions(at::kBool)).triu(1);
    if (limits.window > 0)
      unseen =
          unseen.logical_or(at::ones({n, n}, at::TensorOptions(at::kBool)).tril(-limits.window));
    scores = scores.masked_fill(unseen, -std::numeric_limits<double>::infinity());
    out.push_back(at::matmul(at::softmax(scores, -1), values).transpose(0, 1));
  }
  return at::cat(out);
}

std::unique_ptr<KVCache> one_layer_cache() {
  const LayerCache layer = KeyLayer{.kv_heads = 2, .key_dim = 16, .value_dim = 16};
  return backend_of(at::Device(at::kCPU)).cache.make(std::span(&layer, 1), at::kCPU);
}

void expect_reference(const std::vector<int64_t>& boundaries, int64_t heads, int64_t kv_heads,
                      const AttendOptions& limits = {.scale = 0.25}) {
  const int64_t n = boundaries.back(), dim = 16;
  at::Tensor q = at::randn({n, heads, dim}).set_requires_grad(true);
  at::Tensor k = at::randn({n, kv_heads, dim}).set_requires_grad(true);
  at::Tensor v = at::randn({n, kv_heads, dim}).set_requires_grad(true);
  const at::Tensor upstream = at::randn({n, heads, dim});
  const at::Tensor out = ragged_attention({q, k, v, boundaries, limits});
  (out * upstream).sum().backward();
  at::Tensor dq = q.detach().to(at::kDouble).set_requires_grad(true);
  at::Tensor dk = k.detach().to(at::kDouble).set_requires_grad(true);
  at::Tensor dv = v.detach().to(at::kDouble).set_requires_grad(true);
  const at::Tensor expected = reference(dq, dk, dv, boundaries, limits);
  (expected * upstream).sum().backward();
  EXPECT_LT(max_difference(out, expected), 1e-5);
  EXPECT_LT(max_difference(q.grad(), dq.grad()), 1e-4);
  EXPECT_LT(max_difference(k.grad(), dk.grad()), 1e-4);
  EXPECT_LT(max_difference(v.grad(), dv.grad()), 1e-4);
}

TEST(RaggedAttention, AgreesWithAMaskedReferenceIncludingGradients) {
  for (const int64_t kv_heads : {1, 2, 4}) expect_reference({0, 1, 8, 75, 80}, 4, kv_heads);
}

TEST(RaggedAttention, LongDocumentsAreCutInPartsBesideShortOnes) {
  expect_reference({0, 5, 1605, 1705, 2745}, 2, 1);
  expect_reference({0, 1100}, 2, 1, {.window = 300});
}

// Windows shorter and longer than a block of queries, documents of one block and of several.
const std::vector<AttendOptions> kLimits = {
    {.scale = 0.25, .window = 1},    {.scale = 0.25, .window = 7},
    {.scale = 0.25, .window = 100},  {.scale = 0.25, .window = 70, .softcap = 2},
    {.scale = 0.25, .softcap = 1.5}, {.scale = 0.25, .window = 1000}};

TEST(RaggedAttention, WindowsAndSoftCapsAgreeWithAMaskedReferenceIncludingGradients) {
  for (const AttendOptions& limits : kLimits) {
    SCOPED_TRACE(testing::Message()
                 << "window " << limits.window << ", soft cap " << limits.softcap);
    expect_reference({0, 3, 204, 304}, 4, 2, limits);
  }
}

TEST(RaggedAttention, CachedPiecesHonourWindowsAndSoftCaps) {
  const c10::NoGradGuard no_grad;
  const int64_t n = 230;
  std::vector<AttendOptions> all = kLimits;
  all.push_back({.scale = 0.25});
  for (const AttendOptions& limits : all) {
    const at::Tensor q = at::randn({n, 4, 16}), k = at::randn({n, 2, 16}),
                     v = at::randn({n, 2, 16});
    const at::Tensor whole = reference(q, k, v, {0, n}, limits);
    const auto cache = one_layer_cache();
    const int64_t id = cache->add();
    int64_t begin = 0;
    for (const int64_t size : {150, 1, 20, 1, 1, 57}) {
      cache->prepare(id, size);
      const at::Tensor out = cached_attention({.q = q.narrow(0, begin, size),
                                               .k = k.narrow(0, begin, size),
                                               .v = v.narrow(0, begin, size),
                                               .boundaries = {0, size},
                                               .options = limits},
                                              {*cache, std::span(&id, 1)}, 0);
      cache->commit(id, size);
      EXPECT_LT(max_difference(out, whole.narrow(0, begin, size)), 1e-5)
          << limits.window << " at " << begin;
      begin += size;
    }
  }
}

TEST(RaggedAttention, BatchesThatCannotBeAreErrors) {
  const at::Tensor q = at::randn({3, 2, 16});
  test::expect_error([&] { ragged_attention({q, q, q, {0, 2, 2, 3}, {}}); },
                     {"document 1", "is empty"});
  const auto cache = one_layer_cache();
  const int64_t id = cache->add();
  test::expect_error(
      [&] { cached_attention({q, q, q, {0, 1, 3}, {}}, {*cache, std::span(&id, 1)}, 0); },
      {"1 cached sequences for 2 documents"});
}

}  // namespace
}  // namespace continuo
