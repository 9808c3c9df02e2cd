#include "nn/rope.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "support/tiny_model.h"

namespace continuo {
namespace {

TEST(Rope, RotatesPairsOfHalvesByThePositionsAngle) {
  RopeTable table({.dim = 4, .theta = 100});
  table.ensure(10, at::kCPU);
  const at::Tensor x = at::tensor({1.0f, 2.0f, 3.0f, 4.0f}).view({1, 1, 4});
  const at::Tensor y = rotate(x, {table.cos(), table.sin(), at::tensor({int64_t{3}})}).flatten();
  // Frequencies 100^0 and 100^(-1/2): angles 3 and 0.3.
  const float expected[] = {
      std::cos(3.0f) * 1 - std::sin(3.0f) * 3, std::cos(0.3f) * 2 - std::sin(0.3f) * 4,
      std::cos(3.0f) * 3 + std::sin(3.0f) * 1, std::cos(0.3f) * 4 + std::sin(0.3f) * 2};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(y[i].item<float>(), expected[i], 1e-5);
}

TEST(Rope, TheBackwardPassIsTheInverseRotation) {
  RopeTable table({.dim = 8, .theta = 50});
  table.ensure(20, at::kCPU);
  at::Tensor x = at::randn({5, 2, 8}).set_requires_grad(true);
  const at::Tensor positions =
      at::tensor({int64_t{0}, int64_t{4}, int64_t{1}, int64_t{19}, int64_t{7}});
  const at::Tensor y = rotate(x, {table.cos(), table.sin(), positions});
  y.backward(y.detach());
  EXPECT_LT(test::max_difference(x.grad(), x), 1e-5);  // orthogonal: Rᵀ(Rx) = x
}

TEST(Rope, DimensionsBeyondTheRotatedOnesPass) {
  RopeTable table({.dim = 4, .theta = 50});
  table.ensure(20, at::kCPU);
  const at::Tensor x = at::randn({2, 3, 10}), rows = at::tensor({int64_t{4}, int64_t{9}});
  const Rotation rotation = {table.cos(), table.sin(), rows};
  const at::Tensor y = rotate(x, rotation);
  EXPECT_TRUE(y.narrow(2, 4, 6).equal(x.narrow(2, 4, 6)));
  EXPECT_TRUE(y.narrow(2, 0, 4).equal(rotate(x.narrow(2, 0, 4), rotation)));
}

TEST(Rope, FrequenciesByLengthAreThoseOfEachDocument) {
  const RopeScaling scaling = {.kind = RopeKind::dynamic, .factor = 2, .original_context = 4};
  RopeTable table({.dim = 4, .theta = 100, .scaling = scaling});
  const at::Tensor positions = at::tensor({int64_t{0}, int64_t{1}, int64_t{2}, int64_t{0},
                                           int64_t{1}, int64_t{2}, int64_t{3}, int64_t{4}});
  const Rotation r = table.rotation(positions, {0, 3, 8}, std::vector<int64_t>{3, 5});
  // NTK: θ · (factor · length / original − (factor − 1))^(dim / (dim − 2)) beyond the original
  // context.
  const double stretched = 100 * std::pow(2.0 * 5 / 4 - 1, 2);
  EXPECT_NEAR(r.cos[2][1].item<double>(), std::cos(2 / std::sqrt(100.0)), 1e-6);
  EXPECT_NEAR(r.cos[5][1].item<double>(), std::cos(2 / std::sqrt(stretched)), 1e-6);
  EXPECT_EQ(r.rows[5].item<int64_t>(), 5);
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
