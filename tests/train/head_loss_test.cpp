#include "train/head_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tanh.h>
#include <gtest/gtest.h>

#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;

struct Case {
  at::Tensor hidden, head, targets;

  Head parts(double softcap = 0) const { return {head, head.detach(), softcap}; }
  void clear() { hidden.mutable_grad() = head.mutable_grad() = at::Tensor(); }
};

Case make_case(int64_t rows, int64_t vocabulary = 37, int64_t width = 12) {
  return {at::randn({rows, width}).set_requires_grad(true),
          at::randn({vocabulary, width}).set_requires_grad(true),
          at::randint(vocabulary, {rows}, at::TensorOptions(at::kLong))};
}

at::Tensor capped_logits(const Case& c, double cap) {
  const at::Tensor raw = at::linear(c.hidden, c.head);
  return cap > 0 ? at::tanh(raw / cap) * cap : raw;
}

// Σ over rows of weight · ((1−ε)·nll + ε·mean(−log p) + z·lse²), times the scale: straight from the
// definition, in double.
at::Tensor reference(const Case& c, const LossOptions& o, double cap, const at::Tensor& weights) {
  const at::Tensor logits = capped_logits(c, cap) / o.head.temperature;
  const at::Tensor lse = logits.logsumexp(1);
  const at::Tensor logp = logits - lse.unsqueeze(1);
  const at::Tensor nll = -logp.gather(1, c.targets.unsqueeze(1)).squeeze(1);
  const at::Tensor loss =
      (1 - o.label_smoothing) * nll - o.label_smoothing * logp.mean(1) + o.z_loss * lse.pow(2);
  return (weights.defined() ? loss * weights : loss).sum() * o.scale;
}

TEST(WeightedNll, ValueAndGradientsFollowTheDefinitionForEveryChunkSize) {
  for (LossOptions options :
       {LossOptions{}, LossOptions{.label_smoothing = 0.1}, LossOptions{.z_loss = 0.02},
        LossOptions{.label_smoothing = 0.2, .z_loss = 0.01},
        LossOptions{.label_smoothing = 0.1, .head = {.temperature = 0.7}}}) {
    options.scale = 0.25;
    for (const double cap : {0.0, 3.0}) {
      for (const bool weighted : {false, true}) {
        Case c = make_case(70);
        const at::Tensor weights = weighted ? at::rand({70}) * 2 : at::Tensor();
        Case exact{c.hidden.detach().to(at::kDouble).set_requires_grad(true),
                   c.head.detach().to(at::kDouble).set_requires_grad(true), c.targets};
        const at::Tensor expected = reference(exact, options, cap, weights);
        expected.backward();
        for (const int64_t budget : {int64_t{1}, int64_t{37 * 4 * 20}, int64_t{1} << 30}) {
          c.clear();
          options.head.memory_budget = budget;
          const NllResult result =
              weighted_nll(c.hidden, c.parts(cap), c.targets, weights, options);
          result.sum.backward();
          EXPECT_NEAR(result.sum.item<double>(), expected.item<double>(), 1e-3);
          EXPECT_LT(max_difference(c.hidden.grad(), exact.hidden.grad()), 2e-5);
          EXPECT_LT(max_difference(c.head.grad(), exact.head.grad()), 4e-5);
        }
      }
    }
  }
}

TEST(WeightedNll, WeightsOfOneHaveTheBitsOfNone) {
  Case c = make_case(70);
  const LossOptions options{.label_smoothing = 0.1, .scale = 1.0 / 70};
  const NllResult none = weighted_nll(c.hidden, c.parts(), c.targets, {}, options);
  none.sum.backward();
  const at::Tensor hidden = c.hidden.grad().clone(), head = c.head.grad().clone();
  c.clear();
  const NllResult ones = weighted_nll(c.hidden, c.parts(), c.targets, at::ones({70}), options);
  ones.sum.backward();
  EXPECT_TRUE(ones.sum.equal(none.sum));
  EXPECT_TRUE(c.hidden.grad().equal(hidden));
  EXPECT_TRUE(c.head.grad().equal(head));
}

TEST(WeightedNll, NllIsNeitherSmoothedWeightedNorScaled) {
  const Case c = make_case(9);
  const NllResult result = weighted_nll(c.hidden, c.parts(), c.targets, at::full({9}, 3.0f),
                                        {.label_smoothing = 0.3, .scale = 0.01});
  const at::Tensor expected = -at::log_softmax(at::linear(c.hidden, c.head), 1)
                                   .gather(1, c.targets.unsqueeze(1))
                                   .squeeze(1);
  EXPECT_LT(max_difference(result.nll, expected), 1e-4);
}

TEST(WeightedNll, TheUpstreamGradientScales) {
  Case c = make_case(5);
  (weighted_nll(c.hidden, c.parts(), c.targets, {}, {}).sum * 3).backward();
  const at::Tensor tripled = c.hidden.grad().clone();
  c.clear();
  weighted_nll(c.hidden, c.parts(), c.targets, {}, {}).sum.backward();
  EXPECT_LT(max_difference(tripled, c.hidden.grad() * 3), 1e-5);
}

TEST(WeightedNll, NoRowsGiveAZeroThatIsStillConnected) {
  Case c = make_case(0);
  const NllResult result = weighted_nll(c.hidden, c.parts(), c.targets, {}, {});
  EXPECT_EQ(result.sum.item<double>(), 0.0);
  result.sum.backward();
  EXPECT_EQ(c.head.grad().abs().sum().item<double>(), 0.0);
}

TEST(WeightedNll, Bfloat16StaysCloseAndKeepsGradientTypes) {
  Case c = make_case(40);
  const LossOptions options{.scale = 1.0 / 40};
  const at::Tensor expected = reference(c, options, 0, {});
  at::Tensor hidden = c.hidden.detach().to(at::kBFloat16).set_requires_grad(true);
  const NllResult result =
      weighted_nll(hidden, {c.head, c.head.detach().to(at::kBFloat16)}, c.targets, {}, options);
  result.sum.backward();
  EXPECT_NEAR(result.sum.item<double>(), expected.item<double>(), 0.02 * expected.item<double>());
  EXPECT_EQ(hidden.grad().scalar_type(), at::kBFloat16);
  EXPECT_EQ(c.head.grad().scalar_type(), at::kFloat);
}

TEST(WeightedNll, WithoutGradientsNothingIsPrepared) {
  const c10::NoGradGuard no_grad;
  const Case c = make_case(6);
  const NllResult result = weighted_nll(c.hidden, c.parts(), c.targets, {}, {});
  EXPECT_FALSE(result.sum.requires_grad());
  EXPECT_NEAR(result.sum.item<double>(), result.nll.sum().item<double>(), 1e-4);
}

// Any function of the log-probabilities and entropies has the gradients of its definition.
TEST(TokenLogprobs, ValuesAndGradientsFollowTheDefinitionForEveryChunkSize) {
  for (const double cap : {0.0, 3.0}) {
    for (const double temperature : {1.0, 0.6}) {
      for (const bool with_entropy : {false, true}) {
        Case c = make_case(70);
        const at::Tensor slope = at::randn({70}), entropy_slope = at::randn({70});
        const auto objective = [&](const at::Tensor& logp, const at::Tensor& entropy) {
          const at::Tensor first = (logp * slope).sum() + (logp * logp).sum();
          return with_entropy ? first + (entropy * entropy_slope).sum() : first;
        };
        Case exact{c.hidden.detach().to(at::kDouble).set_requires_grad(true),
                   c.head.detach().to(at::kDouble).set_requires_grad(true), c.targets};
        const at::Tensor all = at::log_softmax(capped_logits(exact, cap) / temperature, 1);
        const at::Tensor logp = all.gather(1, c.targets.unsqueeze(1)).squeeze(1);
        const at::Tensor entropy = -(all.exp() * all).sum(1);
        objective(logp, entropy).backward();
        for (const int64_t budget : {int64_t{1}, int64_t{1} << 30}) {
          c.clear();
          const TokenLogprobs got =
              token_logprobs(c.hidden, c.parts(cap), c.targets, {temperature, budget});
          EXPECT_LT(max_difference(got.logp, logp), 1e-4);
          EXPECT_LT(max_difference(got.entropy, entropy), 1e-4);
          objective(got.logp, got.entropy).backward();
          EXPECT_LT(max_difference(c.hidden.grad(), exact.hidden.grad()), 3e-4);
          EXPECT_LT(max_difference(c.head.grad(), exact.head.grad()), 3e-4);
        }
      }
    }
  }
}

// Σ −logp · w has the gradients of weighted_nll, to the bit: it is the same kernel.
TEST(TokenLogprobs, GradientsAreThoseOfWeightedNll) {
  Case c = make_case(33);
  const at::Tensor weights = at::rand({33});
  weighted_nll(c.hidden, c.parts(), c.targets, weights, {}).sum.backward();
  const at::Tensor hidden = c.hidden.grad().clone(), head = c.head.grad().clone();
  c.clear();
  (-token_logprobs(c.hidden, c.parts(), c.targets).logp * weights).sum().backward();
  EXPECT_TRUE(c.hidden.grad().equal(hidden));
  EXPECT_TRUE(c.head.grad().equal(head));
}

TEST(TokenLogprobs, AFrozenHeadGetsNoGradient) {
  Case c = make_case(5);
  c.head = c.head.detach();
  token_logprobs(c.hidden, c.parts(), c.targets).entropy.sum().backward();
  EXPECT_FALSE(c.head.grad().defined());
  EXPECT_TRUE(c.hidden.grad().defined());
}

}  // namespace
}  // namespace continuo
