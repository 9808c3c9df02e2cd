#include "nn/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include "support/backend.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;

TEST(Linear, MixedPrecisionGradientsReachTheFloatParameter) {
  at::Tensor x = at::randn({5, 32}).to(at::kBFloat16).set_requires_grad(true);
  Linear layer(32, 12, true);
  {
    const c10::NoGradGuard no_grad;
    layer->weight.set_data(at::randn({12, 32}));
    layer->bias.set_data(at::randn({12}));
  }
  const at::Tensor y = layer(x);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  const at::Tensor upstream = at::randn({5, 12}).to(at::kBFloat16);
  (y * upstream).sum().backward();
  EXPECT_EQ(layer->weight.grad().scalar_type(), at::kFloat);
  const at::Tensor expected = upstream.to(at::kFloat).t().mm(x.detach().to(at::kFloat));
  EXPECT_LT(max_difference(layer->weight.grad(), expected), 0.1);
  EXPECT_LT(max_difference(layer->bias.grad(), upstream.to(at::kFloat).sum(0)), 1e-5);
  EXPECT_LT(max_difference(x.grad(), upstream.to(at::kFloat).mm(layer->weight.detach())), 0.3);
}

TEST(CastCache, FollowsInPlaceChangesAndNewStorage) {
  at::Tensor parameter = at::randn({3, 4});
  CastCache cache;
  const at::Tensor before = cache.get(parameter, at::kBFloat16).clone();
  parameter.mul_(2);
  EXPECT_TRUE(cache.get(parameter, at::kBFloat16).equal(parameter.to(at::kBFloat16)));
  parameter.set_data(at::randn({3, 4}));
  EXPECT_TRUE(cache.get(parameter, at::kBFloat16).equal(parameter.to(at::kBFloat16)));
  EXPECT_FALSE(before.equal(cache.get(parameter, at::kBFloat16)));
  EXPECT_TRUE(cache.get(parameter, at::kFloat).is_alias_of(parameter));
}

}  // namespace
}  // namespace continuo
