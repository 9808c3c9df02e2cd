#include "nn/transformer.h"

#include <gtest/gtest.h>

#include "nn/executor.h"
#include "nn/unset_parameter.h"
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
  for (const WeightFormat format : {WeightFormat::f32, WeightFormat::bf16}) {
    auto model = tiny_model();
    model->set_compute({.dtype = format == WeightFormat::f32 ? at::kFloat : at::kBFloat16});
    const auto tokens = random_tokens(24, 61, 4);
    const at::Tensor whole = all_logits(*model, ragged({tokens}));
    const auto executor = make_executor(model, {.weights = format, .cache = KVFormat::f32});
    const auto cache = executor->make_cache();
    const int64_t id = cache->add();
    const double tolerance = format == WeightFormat::f32 ? 5e-5 : 0.3;
    Pass prompt = {.input = ragged({{tokens.begin(), tokens.begin() + 10}}),
                   .cache = *cache,
                   .sequences = {id}};
    for (int64_t i = 0; i < 10; ++i) prompt.wanted.push_back(i);
    EXPECT_LT(max_difference(executor->run(prompt).logits, whole.narrow(0, 0, 10)), tolerance);
    for (int64_t i = 10; i < 24; ++i) {
      Pass one = {
          .input = ragged({{tokens[i]}}, i), .cache = *cache, .sequences = {id}, .wanted = {0}};
      EXPECT_LT(max_difference(executor->run(one).logits[0], whole[i]), tolerance)
          << "position " << i;
    }
    EXPECT_EQ(cache->length(id), 24);
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

}  // namespace
}  // namespace continuo
