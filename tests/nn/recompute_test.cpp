#include "nn/recompute.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "support/tiny_model.h"

namespace continuo {
namespace {

TEST(Recompute, RunsAgainInTheBackwardPassAndReachesInnerParameters) {
  at::Tensor weight = at::randn({4, 4}).set_requires_grad(true);
  at::Tensor x = at::randn({2, 4}).set_requires_grad(true),
             y = at::randn({2, 4}).set_requires_grad(true);
  int calls = 0;
  const TensorFunction f = [&](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
    ++calls;
    return {in[0].mm(weight).sin(), in[0] * in[1]};
  };
  const auto out = recompute(f, {x, y});
  ((out[0] * 2).sum() + (out[1] * 3).sum()).backward();
  EXPECT_EQ(calls, 2);
  const at::Tensor dx = x.grad().clone(), dy = y.grad().clone(), dw = weight.grad().clone();
  x.mutable_grad() = y.mutable_grad() = weight.mutable_grad() = at::Tensor();
  const auto plain = f({x, y});
  ((plain[0] * 2).sum() + (plain[1] * 3).sum()).backward();
  EXPECT_TRUE(dx.equal(x.grad()));
  EXPECT_TRUE(dy.equal(y.grad()));
  EXPECT_TRUE(dw.equal(weight.grad()));
}

}  // namespace
}  // namespace continuo
