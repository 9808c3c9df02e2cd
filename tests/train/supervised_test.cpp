#include "train/supervised.h"

#include <algorithm>

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "support/tiny_model.h"
#include "train/head_loss.h"

namespace continuo {
namespace {

using test::max_difference;
using test::random_tokens;
using test::tiny_model;

// Documents of random tokens; the first `prompt` tokens of each are not trained.
Batch make_documents(const std::vector<int64_t>& lengths, int64_t prompt) {
  std::vector<std::vector<TokenId>> ids;
  std::vector<std::vector<uint8_t>> masks;
  for (const int64_t n : lengths) {
    const std::vector<int64_t> tokens = random_tokens(n, 61, n);
    ids.emplace_back(tokens.begin(), tokens.end());
    masks.emplace_back(n, uint8_t{1});
    std::fill_n(masks.back().begin(), prompt, uint8_t{0});
  }
  std::vector<ExampleView> views;
  std::vector<int64_t> rows;
  for (size_t i = 0; i < ids.size(); ++i) {
    views.push_back({ids[i], masks[i]});
    rows.push_back(static_cast<int64_t>(i));
  }
  return make_batch(views, rows);
}

NllResult batch_nll(Transformer& model, const Batch& batch, double scale) {
  const Supervised rows = supervised_rows(model, batch);
  return weighted_nll(rows.hidden, rows.head, rows.targets, rows.weights, {.scale = scale});
}

TEST(Supervised, IsTheMaskedCrossEntropyOfEveryPositionsLogits) {
  auto model = tiny_model();
  const Batch batch = make_documents({5, 9, 3}, 2);
  const c10::NoGradGuard no_grad;
  const at::Tensor hidden = model->forward(
      {batch.tokens.to(test::device()), batch.positions.to(test::device()), batch.boundaries});
  const at::Tensor logp = at::log_softmax(model->logits(hidden).to(at::kDouble), 1);
  std::vector<double> expected;
  for (int64_t i = 0; i < batch.targets.size(0); ++i) {
    const int64_t target = batch.targets[i].item<int64_t>();
    if (target != kIgnoredTarget) expected.push_back(-logp[i][target].item<double>());
  }
  const NllResult loss = batch_nll(*model, batch, 0.5);
  ASSERT_EQ(loss.nll.size(0), static_cast<int64_t>(expected.size()));
  EXPECT_EQ(loss.nll.size(0), batch.trained_count);
  double sum = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(loss.nll[static_cast<int64_t>(i)].item<double>(), expected[i], 1e-4) << i;
    sum += expected[i];
  }
  EXPECT_NEAR(loss.sum.item<double>(), 0.5 * sum, 1e-3);
}

TEST(Supervised, GradientsOfTwoBatchesAddUpToThoseOfTheirUnion) {
  auto model = tiny_model();
  const auto gradient = [&](const std::vector<std::vector<int64_t>>& batches) {
    model->zero_grad();
    for (const auto& lengths : batches)
      batch_nll(*model, make_documents(lengths, 1), 0.1).sum.backward();
    return model->head_weight().grad().clone();
  };
  EXPECT_LT(max_difference(gradient({{4, 7}, {6}}), gradient({{4, 7, 6}})), 1e-5);
}

TEST(Supervised, BoundariesAndWeightsFollowTheTargets) {
  const std::vector<TokenId> ids = {1, 2, 3, 4};
  const std::vector<uint8_t> all = {0, 1, 1, 1}, last = {0, 0, 0, 1};
  const std::vector<float> weights = {9, 2, 0.5f, 1};
  const ExampleView views[] = {{ids, all, weights}, {ids, last}};
  const int64_t rows[] = {0, 1};
  const Batch batch = make_batch(views, rows);
  EXPECT_EQ(batch.weight, 4.5);
  const auto model = tiny_model();
  const Supervised targets = supervised_rows(*model, batch);
  EXPECT_EQ(targets.boundaries, (std::vector<int64_t>{0, 3, 4}));
  EXPECT_TRUE(targets.weights.cpu().equal(at::tensor({2.0f, 0.5f, 1.0f, 1.0f})));
  EXPECT_TRUE(targets.targets.cpu().equal(at::tensor({2, 3, 4, 4}, at::kLong)));
  EXPECT_FALSE(supervised_rows(*model, make_documents({4}, 1)).weights.defined());
}

}  // namespace
}  // namespace continuo
