#include "train/loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
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
};

Case make_case(int64_t rows, int64_t vocabulary = 37, int64_t width = 12) {
  return {at::randn({rows, width}).set_requires_grad(true),
          at::randn({vocabulary, width}).set_requires_grad(true),
          at::randint(vocabulary, {rows}, at::TensorOptions(at::kLong))};
}

// Σ over rows of (1−ε)·nll + ε·mean(−log p) + z·lse², times scale: straight from the definition, in
// double.
at::Tensor reference(const Case& c, const LossOptions& o, double scale) {
  const at::Tensor raw = at::linear(c.hidden, c.head);
  const at::Tensor logits =
      o.logit_softcap > 0 ? at::tanh(raw / o.logit_softcap) * o.logit_softcap : raw;
  const at::Tensor lse = logits.logsumexp(1);
  const at::Tensor logp = logits - lse.unsqueeze(1);
  const at::Tensor nll = -logp.gather(1, c.targets.unsqueeze(1)).squeeze(1);
  return ((1 - o.label_smoothing) * nll - o.label_smoothing * logp.mean(1) + o.z_loss * lse.pow(2))
             .sum() *
         scale;
}

TEST(Loss, ValueAndGradientsFollowTheDefinitionForEveryChunkSize) {
  for (const LossOptions& options :
       {LossOptions{}, LossOptions{.label_smoothing = 0.1}, LossOptions{.z_loss = 0.02},
        LossOptions{.label_smoothing = 0.2, .z_loss = 0.01},
        LossOptions{.label_smoothing = 0.1, .logit_softcap = 3.0}}) {
    Case c = make_case(70);
    Case exact{c.hidden.detach().to(at::kDouble).set_requires_grad(true),
               c.head.detach().to(at::kDouble).set_requires_grad(true), c.targets};
    const at::Tensor expected = reference(exact, options, 0.25);
    expected.backward();
    for (const int64_t budget : {int64_t{1}, int64_t{37 * 4 * 20}, int64_t{1} << 30}) {
      c.hidden.mutable_grad() = c.head.mutable_grad() = at::Tensor();
      LossOptions chunked = options;
      chunked.memory_budget = budget;
      const LossResult result =
          lm_loss(c.hidden, c.head, c.head.detach(), c.targets, 0.25, chunked);
      result.sum.backward();
      EXPECT_NEAR(result.sum.item<double>(), expected.item<double>(), 1e-3);
      EXPECT_LT(max_difference(c.hidden.grad(), exact.hidden.grad()), 1e-5);
      EXPECT_LT(max_difference(c.head.grad(), exact.head.grad()), 2e-5);
    }
  }
}

TEST(Loss, NllIsNeitherSmoothedNorScaled) {
  const Case c = make_case(9);
  const LossResult result =
      lm_loss(c.hidden, c.head, c.head.detach(), c.targets, 0.01, {.label_smoothing = 0.3});
  const at::Tensor expected = -at::log_softmax(at::linear(c.hidden, c.head), 1)
                                   .gather(1, c.targets.unsqueeze(1))
                                   .squeeze(1);
  EXPECT_LT(max_difference(result.nll, expected), 1e-4);
}

TEST(Loss, TheUpstreamGradientScales) {
  Case c = make_case(5);
  (lm_loss(c.hidden, c.head, c.head.detach(), c.targets, 1.0, {}).sum * 3).backward();
  const at::Tensor tripled = c.hidden.grad().clone();
  c.hidden.mutable_grad() = at::Tensor();
  lm_loss(c.hidden, c.head, c.head.detach(), c.targets, 1.0, {}).sum.backward();
  EXPECT_LT(max_difference(tripled, c.hidden.grad() * 3), 1e-5);
}

TEST(Loss, NoRowsGiveAZeroThatIsStillConnected) {
  Case c = make_case(0);
  const LossResult result = lm_loss(c.hidden, c.head, c.head.detach(), c.targets, 1.0, {});
  EXPECT_EQ(result.sum.item<double>(), 0.0);
  result.sum.backward();
  EXPECT_EQ(c.head.grad().abs().sum().item<double>(), 0.0);
}

TEST(Loss, Bfloat16StaysCloseAndKeepsGradientTypes) {
  Case c = make_case(40);
  const at::Tensor expected = reference(c, {}, 1.0 / 40);
  at::Tensor hidden = c.hidden.detach().to(at::kBFloat16).set_requires_grad(true);
  const LossResult result =
      lm_loss(hidden, c.head, c.head.detach().to(at::kBFloat16), c.targets, 1.0 / 40, {});
  result.sum.backward();
  EXPECT_NEAR(result.sum.item<double>(), expected.item<double>(), 0.02 * expected.item<double>());
  EXPECT_EQ(hidden.grad().scalar_type(), at::kBFloat16);
  EXPECT_EQ(c.head.grad().scalar_type(), at::kFloat);
}

TEST(Loss, WithoutGradientsNothingIsPrepared) {
  const c10::NoGradGuard no_grad;
  const Case c = make_case(6);
  const LossResult result = lm_loss(c.hidden, c.head, c.head.detach(), c.targets, 1.0, {});
  EXPECT_FALSE(result.sum.requires_grad());
  EXPECT_NEAR(result.sum.item<double>(), result.nll.sum().item<double>(), 1e-4);
}

}  // namespace
}  // namespace continuo
