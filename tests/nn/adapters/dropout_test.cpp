#include "nn/adapters/dropout.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace continuo {
namespace {

const at::TensorOptions kFloats = at::TensorOptions(at::kFloat);

at::Tensor mask_for(const Dropout& dropout, int64_t step, const std::vector<uint64_t>& tokens,
                    int64_t columns) {
  DropoutPass pass;
  pass.start(step, tokens);
  return dropout.mask(pass, static_cast<int64_t>(tokens.size()), columns, kFloats);
}

TEST(Dropout, TheMaskOfATokenDependsOnItsNameAlone) {
  const Dropout dropout(0.3, 7, "layer");
  const at::Tensor together = mask_for(dropout, 5, {10, 11, 99}, 37);
  EXPECT_TRUE(together.narrow(0, 2, 1).equal(mask_for(dropout, 5, {99}, 37)));
  EXPECT_TRUE(together.narrow(0, 0, 2).equal(mask_for(dropout, 5, {10, 11}, 37)));
  EXPECT_FALSE(together.equal(mask_for(dropout, 6, {10, 11, 99}, 37)));
  EXPECT_FALSE(together.equal(mask_for(Dropout(0.3, 8, "layer"), 5, {10, 11, 99}, 37)));
  EXPECT_FALSE(together.equal(mask_for(Dropout(0.3, 7, "other"), 5, {10, 11, 99}, 37)));
}

TEST(Dropout, DropsItsShareAndKeepsTheMean) {
  std::vector<uint64_t> tokens(400);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = i << 32;
  const at::Tensor mask = mask_for(Dropout(0.1, 1, "layer"), 0, tokens, 501);
  const auto n = static_cast<double>(mask.numel());
  const double dropped = mask.eq(0).sum().item<double>() / n;
  EXPECT_NEAR(dropped, 0.1, 5 * std::sqrt(0.09 / n));
  EXPECT_NEAR(mask.mean().item<double>(), 1.0, 5 * std::sqrt(0.1 / 0.9 / n));
  // Neither rows nor columns are copies of each other.
  EXPECT_NEAR((mask.narrow(1, 0, 250).eq(0) & mask.narrow(1, 250, 250).eq(0))
                  .to(at::kFloat)
                  .mean()
                  .item<double>(),
              0.01, 0.002);
}

TEST(Dropout, ARateOfZeroDropsNothingAndTooFewRowsAreRefused) {
  EXPECT_FALSE(Dropout(0, 1, "layer").drops());
  const Dropout dropout(0.5, 1, "layer");
  DropoutPass pass;
  pass.start(0, {1, 2});
  EXPECT_THROW(dropout.mask(pass, 1, 4, kFloats), Error);
}

TEST(Dropout, RowsOfPaddingAreDroppedWhole) {
  const Dropout dropout(0.5, 1, "layer");
  DropoutPass pass;
  pass.start(4, {1, 2});
  const at::Tensor mask = dropout.mask(pass, 5, 8, kFloats);
  EXPECT_TRUE(mask.narrow(0, 0, 2).equal(mask_for(dropout, 4, {1, 2}, 8)));
  EXPECT_EQ(mask.narrow(0, 2, 3).abs().sum().item<double>(), 0);
}

TEST(Dropout, AScopeEndsItsPass) {
  DropoutPass pass;
  {
    const DropoutScope scope(&pass, 3, {1});
    EXPECT_TRUE(pass.active());
  }
  EXPECT_FALSE(pass.active());
  const DropoutScope none(nullptr, 3, {});
}

}  // namespace
}  // namespace continuo
