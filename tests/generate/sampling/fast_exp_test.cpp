#include "generate/sampling/fast_exp.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace continuo::test {
namespace {

TEST(FastExp, AgreesWithTheLibraryOverItsRange) {
  std::vector<double> x;
  for (int i = 0; i <= 70000; ++i) x.push_back(-i * 0.01);
  std::vector<double> y = x;
  exp_nonpositive(y);
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(x[i]);
    ASSERT_NEAR(y[i] / exact, 1, 1e-15) << x[i];
  }
  EXPECT_EQ(y[0], 1);
}

TEST(FastExp, FarBelowItIsAsGoodAsZero) {
  std::vector<double> x{-708.5, -1e4, -1e300, -std::numeric_limits<double>::infinity()};
  exp_nonpositive(x);
  for (double y : x) {
    EXPECT_GE(y, 0);
    EXPECT_LT(y, 1e-307);
  }
}

}  // namespace
}  // namespace continuo::test
