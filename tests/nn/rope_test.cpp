#include "nn/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>

#include "support/tiny_model.h"

namespace continuo {
namespace {

TEST(Rope, RotatesPairsOfHalvesByThePositionsAngle) {
  RopeTable table({.dim = 4, .theta = 100});
  table.ensure(10, at::kCPU);
  const at::Tensor x = at::tensor({1.0f, 2.0f, 3.0f, 4.0f}).view({1, 1, 4});
  const at::Tensor y = rotate(x, {table.cos(), table.sin(), at::tensor({int64_t{3}})}).flatten();
  // Frequencies 100^0 and 100^(-1/2): angles 3 and 0.3.
  const float expected[] = {std::cos(3.0f) * 1 - std::sin(3.0f) * 3, std::cos(0.3f) * 2 - std::sin(0.3f) * 4,
                            std::cos(3.0f) * 3 + std::sin(3.0f) * 1, std::cos(0.3f) * 4 + std::sin(0.3f) * 2};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(y[i].item<float>(), expected[i], 1e-5);
}

TEST(Rope, TheBackwardPassIsTheInverseRotation) {
  RopeTable table({.dim = 8, .theta = 50});
  table.ensure(20, at::kCPU);
  at::Tensor x = at::randn({5, 2, 8}).set_requires_grad(true);
  const at::Tensor positions = at::tensor({int64_t{0}, int64_t{4}, int64_t{1}, int64_t{19}, int64_t{7}});
  const at::Tensor y = rotate(x, {table.cos(), table.sin(), positions});
  y.backward(y.detach());
  EXPECT_LT(test::max_difference(x.grad(), x), 1e-5);  // orthogonal: Rᵀ(Rx) = x
}

TEST(Rope, TheTableGrowsWithoutChangingWhatItHeld) {
  RopeTable table({.dim = 8, .theta = 10000});
  table.ensure(10, at::kCPU);
  const at::Tensor before = table.cos().clone();
  table.ensure(before.size(0) + 1, at::kCPU);
  EXPECT_GT(table.cos().size(0), before.size(0));
  EXPECT_TRUE(table.cos().narrow(0, 0, before.size(0)).equal(before));
}

}  // namespace
}  // namespace continuo
