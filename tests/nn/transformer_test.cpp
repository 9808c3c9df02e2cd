#include "nn/transformer.h"

#include <gtest/gtest.h>

#include "support/backend.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;
using test::ragged;
using test::random_tokens;
using test::tiny_model;

at::Tensor all_logits(Transformer& model, const RaggedInput& input) {
  return model.logits(model.forward(input));
}

KVCache cache_for(const Transformer& model) {
  const DecoderShape& s = model.shape();
  return KVCache({.layers = s.layers,
                  .kv_heads = s.kv_heads,
                  .head_dim = s.head_dim,
                  .dtype = model.compute().dtype});
}

TEST(Transformer, NoTokenSeesItsFuture) {
  const c10::NoGradGuard no_grad;
  auto model = tiny_model();
  std::vector<int64_t> tokens = random_tokens(20, 61, 1);
  const at::Tensor before = all_logits(*model, ragged({tokens}));
  for (size_t i = 11; i < tokens.size(); ++i) tokens[i] = (tokens[i] + 1) % 61;
  const at::Tensor after = all_logits(*model, ragged({tokens}));
  EXPECT_LT(max_difference(before.narrow(0, 0, 11), after.narrow(0, 0, 11)), 1e-6);
  EXPECT_GT(max_difference(before[11], after[11]), 1e-3);
}

TEST(Transformer, ATwinSharesTheParametersAndNotHowTheyAreUsed) {
  const c10::NoGradGuard no_grad;
  auto model = tiny_model();
  const auto twin = model->twin();
  EXPECT_EQ(twin->parameters()[0].data_ptr(), model->parameters()[0].data_ptr());
  const RaggedInput input = ragged({random_tokens(9, 61, 1)});
  EXPECT_EQ(max_difference(all_logits(*twin, input), all_logits(*model, input)), 0);
  twin->set_compute({.dtype = at::kBFloat16});
  EXPECT_EQ(model->compute().dtype, at::kFloat);
  EXPECT_GT(max_difference(all_logits(*twin, input), all_logits(*model, input)), 0);
}

TEST(Transformer, DocumentsOfABatchDoNotSeeEachOther) {
  const c10::NoGradGuard no_grad;
  auto model = tiny_model();
  const auto a = random_tokens(9, 61, 1), b = random_tokens(1, 61, 2), c = random_tokens(30, 61, 3);
  const at::Tensor together = all_logits(*model, ragged({a, b, c}));
  EXPECT_LT(max_difference(together.narrow(0, 0, 9), all_logits(*model, ragged({a}))), 2e-5);
  EXPECT_LT(max_difference(together.narrow(0, 9, 1), all_logits(*model, ragged({b}))), 2e-5);
  EXPECT_LT(max_difference(together.narrow(0, 10, 30), all_logits(*model, ragged({c}))), 2e-5);
}

TEST(Transformer, CachedDecodingAgreesWithTheWholeDocument) {
  const c10::NoGradGuard no_grad;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    auto model = tiny_model();
    model->set_compute({.dtype = dtype});
    const auto tokens = random_tokens(24, 61, 4);
    const at::Tensor whole = all_logits(*model, ragged({tokens}));
    KVCache cache = cache_for(*model);
    cache.activate({cache.add()});
    const at::Tensor prompt =
        model->logits(model->forward(ragged({{tokens.begin(), tokens.begin() + 10}}), &cache));
    const double tolerance = dtype == at::kFloat ? 5e-5 : 0.3;
    EXPECT_LT(max_difference(prompt, whole.narrow(0, 0, 10)), tolerance);
    for (int64_t i = 10; i < 24; ++i) {
      const at::Tensor one = model->logits(model->forward(ragged({{tokens[i]}}, i), &cache));
      EXPECT_LT(max_difference(one[0], whole[i]), tolerance) << "position " << i;
    }
    EXPECT_EQ(cache.length(0), 24);
  }
}

TEST(Transformer, DecodingASequenceGivesTheSameBitsInAnyBatch) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const c10::NoGradGuard no_grad;
  auto model = tiny_model();
  const auto prefill = [&](KVCache& cache, int64_t salt, int64_t n) {
    const int64_t id = cache.add();
    cache.activate({id});
    model->forward(ragged({random_tokens(n, 61, salt)}), &cache);
    return id;
  };
  KVCache alone = cache_for(*model), batch = cache_for(*model);
  const int64_t single = prefill(alone, 1, 12);
  const int64_t other = prefill(batch, 2, 5), same = prefill(batch, 1, 12),
                third = prefill(batch, 3, 33);
  for (int64_t step = 0; step < 6; ++step) {
    alone.activate({single});
    batch.activate({other, same, third});
    const at::Tensor one = model->logits(model->forward(ragged({{7 + step}}, 12 + step), &alone));
    RaggedInput input = ragged({{3}, {7 + step}, {9}});
    int64_t* positions = input.positions.data_ptr<int64_t>();
    positions[0] = 5 + step;
    positions[1] = 12 + step;
    positions[2] = 33 + step;
    const at::Tensor three = model->logits(model->forward(input, &batch));
    EXPECT_TRUE(one[0].equal(three[1])) << "step " << step;
  }
}

TEST(Transformer, RecomputationChangesNoGradient) {
  auto model = tiny_model();
  const RaggedInput input = ragged({random_tokens(9, 61, 1), random_tokens(14, 61, 2)});
  std::vector<at::Tensor> plain;
  for (const bool recompute : {false, true}) {
    model->set_compute({.recompute = recompute});
    model->zero_grad();
    model->forward(input).pow(2).sum().backward();
    if (!recompute) {
      for (const at::Tensor& p : model->parameters()) plain.push_back(p.grad().clone());
    } else {
      const auto parameters = model->parameters();
      for (size_t i = 0; i < plain.size(); ++i) {
        const double size = plain[i].abs().max().item<double>();
        EXPECT_LT(max_difference(plain[i], parameters[i].grad()), 2e-4 * (1 + size)) << i;
      }
    }
  }
}

TEST(Transformer, InitialWeightsAreAFunctionOfTheSeed) {
  Transformer a(test::tiny_options()), b(test::tiny_options()), c(test::tiny_options());
  a.initialise(5);
  b.initialise(5);
  c.initialise(6);
  const auto pa = a.named_parameters(), pb = b.named_parameters(), pc = c.named_parameters();
  for (const auto& item : pa) {
    EXPECT_TRUE(item.value().equal(pb[item.key()])) << item.key();
    if (item.value().dim() >= 2) {
      EXPECT_FALSE(item.value().equal(pc[item.key()])) << item.key();
    }
  }
  EXPECT_NEAR(pa["embedding"].std().item<double>(), 0.02, 0.002);
  EXPECT_NEAR(pa["blocks_0.mlp.down.weight"].std().item<double>(), 0.02 / 2, 0.002);
}

TEST(Transformer, ATiedHeadIsNoSecondParameter) {
  TransformerOptions options = test::tiny_options();
  EXPECT_FALSE(Transformer(options).named_parameters().contains("head"));
  options.tie_embeddings = false;
  EXPECT_TRUE(Transformer(options).named_parameters().contains("head"));
}

}  // namespace
}  // namespace continuo
