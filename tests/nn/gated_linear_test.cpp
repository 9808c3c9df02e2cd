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

TEST(GatedLinear, ForwardAndGradientsAgreeWithPlainOperators) {
  for (const bool bias : {false, true}) {
    Linear down(24, 10, bias);
    {
      const c10::NoGradGuard no_grad;
      for (at::Tensor& p : down->parameters()) p.set_data(at::randn(p.sizes()));
    }
    at::Tensor gate = at::randn({6, 24}).set_requires_grad(true),
               up = at::randn({6, 24}).set_requires_grad(true);
    const at::Tensor upstream = at::randn({6, 10});
    const at::Tensor y = gated_linear(gate, up, Activation::silu, *down);
    (y * upstream).sum().backward();

    at::Tensor g = gate.detach().clone().set_requires_grad(true),
               u = up.detach().clone().set_requires_grad(true);
    at::Tensor w = down->weight.detach().clone().set_requires_grad(true);
    const at::Tensor expected =
        at::linear(at::silu(g) * u, w, bias ? down->bias.detach() : at::Tensor());
    (expected * upstream).sum().backward();
    EXPECT_LT(max_difference(y, expected), 1e-4);
    EXPECT_LT(max_difference(gate.grad(), g.grad()), 1e-4);
    EXPECT_LT(max_difference(up.grad(), u.grad()), 1e-4);
    EXPECT_LT(max_difference(down->weight.grad(), w.grad()), 1e-4);
  }
}

}  // namespace
}  // namespace continuo
