#include "nn/gated_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <gtest/gtest.h>

#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;

void expect_plain_operators(at::ScalarType dtype, bool gated, bool bias, double tolerance) {
  Linear down(24, 10, bias);
  {
    const c10::NoGradGuard no_grad;
    for (at::Tensor& p : down->parameters()) p.set_data(at::randn(p.sizes()));
  }
  const auto leaf = [](const at::Tensor& values) {
    return values.detach().clone().set_requires_grad(true);
  };
  at::Tensor gate = leaf(at::randn({6, 24}).to(dtype)), up;
  if (gated) up = leaf(at::randn({6, 24}).to(dtype));
  const at::Tensor upstream = at::randn({6, 10});
  const at::Tensor y = gated_linear(gate, up, Activation::silu, *down);
  (y * upstream).sum().backward();

  at::Tensor g = leaf(gate.to(at::kFloat)), u, w = leaf(down->weight), b;
  if (gated) u = leaf(up.to(at::kFloat));
  if (bias) b = leaf(down->bias);
  const at::Tensor expected = at::linear(gated ? at::silu(g) * u : at::silu(g), w, b);
  (expected * upstream).sum().backward();
  EXPECT_LT(max_difference(y, expected), tolerance);
  const auto expect_gradient = [&](const at::Tensor& ours, const at::Tensor& theirs) {
    if (!theirs.defined()) return;
    ASSERT_TRUE(ours.grad().defined());
    EXPECT_LT(max_difference(ours.grad(), theirs.grad()), tolerance);
  };
  expect_gradient(gate, g);
  expect_gradient(up, u);
  expect_gradient(down->weight, w);
  expect_gradient(down->bias, b);
}

TEST(GatedLinear, ForwardAndGradientsAgreeWithPlainOperators) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const bool gated : {true, false}) {
      for (const bool bias : {true, false}) {
        SCOPED_TRACE(testing::Message()
                     << c10::toString(dtype) << ", gated " << gated << ", bias " << bias);
        expect_plain_operators(dtype, gated, bias, dtype == at::kFloat ? 1e-4 : 0.2);
      }
    }
  }
}

}  // namespace
}  // namespace continuo
