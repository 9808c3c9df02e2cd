#include "nn/norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rsqrt.h>
#include <gtest/gtest.h>

#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;

// The same in plain differentiable operators, double precision.
at::Tensor reference(const at::Tensor& sum, const at::Tensor& weight, double epsilon) {
  return sum * at::rsqrt(sum.pow(2).mean(-1, true) + epsilon) * weight;
}

TEST(RmsNorm, ForwardAndGradientsAgreeWithDoublePrecision) {
  for (const int64_t rows : {1, 7, 40}) {
    for (const bool with_delta : {true, false}) {
      Norm norm(20, NormSpec{.epsilon = 1e-5});
      {
        const c10::NoGradGuard no_grad;
        norm->weight.copy_(at::rand({20}) + 0.5);
      }
      at::Tensor residual = at::randn({rows, 20}).set_requires_grad(true);
      at::Tensor delta = with_delta ? at::randn({rows, 20}).set_requires_grad(true) : at::Tensor();
      const NormOutput out = norm(residual, delta, at::kFloat);
      const at::Tensor to_y = at::randn({rows, 20}), to_sum = at::randn({rows, 20});
      ((out.normalised * to_y).sum() + (out.residual * to_sum).sum()).backward();

      at::Tensor r = residual.detach().to(at::kDouble).set_requires_grad(true);
      at::Tensor w = norm->weight.detach().to(at::kDouble).set_requires_grad(true);
      const at::Tensor sum = with_delta ? r + delta.detach().to(at::kDouble) : r + 0;
      const at::Tensor y = reference(sum, w, 1e-5);
      ((y * to_y).sum() + (sum * to_sum).sum()).backward();
      EXPECT_LT(max_difference(out.normalised, y), 1e-5);
      EXPECT_LT(max_difference(residual.grad(), r.grad()), 2e-5);
      EXPECT_LT(max_difference(norm->weight.grad(), w.grad()), 5e-5);
      if (with_delta) {
        EXPECT_LT(max_difference(delta.grad(), r.grad()), 2e-5);
      }
    }
  }
}

TEST(LayerNorm, ForwardAndGradientsAgreeWithDoublePrecision) {
  Norm norm(20, NormSpec{.centred = true, .epsilon = 1e-5});
  {
    const c10::NoGradGuard no_grad;
    norm->weight.copy_(at::rand({20}) + 0.5);
    norm->bias.copy_(at::randn({20}));
  }
  at::Tensor residual = at::randn({7, 20}).set_requires_grad(true), delta = at::randn({7, 20});
  const NormOutput out = norm(residual, delta, at::kFloat);
  const at::Tensor upstream = at::randn({7, 20});
  (out.normalised * upstream).sum().backward();
  at::Tensor r = residual.detach().to(at::kDouble).set_requires_grad(true);
  const at::Tensor sum = r + delta.to(at::kDouble);
  const at::Tensor centred = sum - sum.mean(-1, true);
  const at::Tensor y =
      reference(centred, norm->weight.detach().to(at::kDouble), 1e-5) + norm->bias.detach();
  (y * upstream).sum().backward();
  EXPECT_LT(max_difference(out.normalised, y), 1e-5);
  EXPECT_LT(max_difference(out.residual, sum), 1e-6);
  EXPECT_LT(max_difference(residual.grad(), r.grad()), 2e-5);
}

TEST(RmsNorm, AWeightStoredLessOneIsTheFactorLessOne) {
  Norm plain(16, NormSpec{}), less_one(16, NormSpec{.plus_one = true});
  {
    const c10::NoGradGuard no_grad;
    less_one->weight.uniform_(-0.5, 0.5);
    plain->weight.copy_(less_one->weight + 1);
  }
  const at::Tensor x = at::randn({5, 16});
  EXPECT_LT(max_difference(plain->apply_to(x), less_one->apply_to(x)), 1e-6);
  (plain->apply_to(x).pow(2).sum() + less_one->apply_to(x).pow(2).sum()).backward();
  EXPECT_LT(max_difference(plain->weight.grad(), less_one->weight.grad()), 1e-4);
}

TEST(RmsNorm, ABfloat16DeltaGetsItsGradientInItsOwnType) {
  Norm norm(16, NormSpec{.epsilon = 1e-5});
  at::Tensor residual = at::randn({3, 16}).set_requires_grad(true);
  at::Tensor delta = at::randn({3, 16}).to(at::kBFloat16).set_requires_grad(true);
  const NormOutput out = norm(residual, delta, at::kBFloat16);
  EXPECT_EQ(out.residual.scalar_type(), at::kFloat);
  EXPECT_EQ(out.normalised.scalar_type(), at::kBFloat16);
  out.normalised.to(at::kFloat).pow(2).sum().backward();
  EXPECT_EQ(delta.grad().scalar_type(), at::kBFloat16);
  EXPECT_LT(max_difference(delta.grad(), residual.grad()), 0.02);
}

}  // namespace
}  // namespace continuo
