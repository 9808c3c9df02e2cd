#include "nn/cpu/document_attention.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <gtest/gtest.h>

#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;

constexpr int64_t kHeads = 4, kKvHeads = 2, kDim = 16;

struct MaskedSoftmax {
  at::Tensor out, lse;  // [queries, heads, dim] and [heads, queries], double
};

// Queries of one document behind `past` keys that are there already; k, v: [kv_heads, keys, dim].
MaskedSoftmax masked_softmax(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             int64_t past, double scale) {
  const at::Tensor queries = q.to(at::kDouble).transpose(0, 1);
  const at::Tensor keys = k.to(at::kDouble).repeat_interleave(kHeads / kKvHeads, 0),
                   values = v.to(at::kDouble).repeat_interleave(kHeads / kKvHeads, 0);
  const at::Tensor unseen =
      at::ones({q.size(0), k.size(1)}, at::TensorOptions(at::kBool)).triu(past + 1);
  const at::Tensor scores =
      (at::matmul(queries, keys.transpose(1, 2)) * scale).masked_fill(unseen, -INFINITY);
  return {at::matmul(at::softmax(scores, -1), values).transpose(0, 1), at::logsumexp(scores, {-1})};
}

// A long document behind a past, one token behind a longer one, and a document from its start: keys
// and values of each lie by heads in memory of their own, with room to spare.
TEST(DocumentAttention, OutputsAndNormalisersAreThoseOfAMaskedSoftmax) {
  const double scale = 0.3;
  const std::vector<std::pair<int64_t, int64_t>> lengths = {{150, 40}, {1, 300}, {70, 0}};
  std::vector<at::Tensor> queries, storages;
  std::vector<DocumentAttention> documents;
  std::vector<MaskedSoftmax> expected;
  int64_t row = 0;
  for (const auto& [n, past] : lengths) {
    queries.push_back(at::randn({n, kHeads, kDim}));
    const int64_t capacity = n + past + 5;
    const at::Tensor storage = at::randn({2, kKvHeads, capacity, kDim});
    storages.push_back(storage);
    documents.push_back({.query = row,
                         .keys = storage.select(0, 0).const_data_ptr(),
                         .values = storage.select(0, 1).const_data_ptr(),
                         .head_step = capacity * kDim,
                         .shape = {.queries = n,
                                   .past = past,
                                   .dim = kDim,
                                   .query_stride = kHeads * kDim,
                                   .key_stride = kDim,
                                   .scale = static_cast<float>(scale)}});
    expected.push_back(masked_softmax(queries.back(), storage.select(0, 0).narrow(1, 0, n + past),
                                      storage.select(0, 1).narrow(1, 0, n + past), past, scale));
    row += n;
  }
  ASSERT_TRUE(kernels_attend(at::kFloat, kDim));
  const auto [out, lse] = attend_documents(at::cat(queries), documents, kKvHeads);
  for (size_t d = 0; d < documents.size(); ++d) {
    const int64_t n = lengths[d].first;
    EXPECT_LT(max_difference(out.narrow(0, documents[d].query, n), expected[d].out), 2e-5) << d;
    EXPECT_LT(max_difference(lse.narrow(1, documents[d].query, n), expected[d].lse), 2e-5) << d;
  }
}

TEST(DocumentAttention, SaysWhatItTakes) {
  EXPECT_TRUE(kernels_attend(at::kFloat, 64));
  EXPECT_TRUE(kernels_attend(at::kBFloat16, 64));
  EXPECT_FALSE(kernels_attend(at::kFloat, 12));
  EXPECT_FALSE(kernels_attend(at::kDouble, 64));
}

}  // namespace
}  // namespace continuo
