#include "generate/fast_exp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "core/random.h"

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

TEST(FastExp, SumsAndMaximaOfEveryLength) {
  const Random random(2, "row");
  for (size_t n : {1ul, 2ul, 15ul, 16ul, 17ul, 511ul, 512ul, 513ul, 3000ul}) {
    std::vector<float> row(n);
    for (size_t i = 0; i < n; ++i) row[i] = static_cast<float>(4 * random.normal(n, i));
    if (n > 2) row[n / 2] = -std::numeric_limits<float>::infinity();
    const float max = max_of(row);
    EXPECT_EQ(max, *std::max_element(row.begin(), row.end()));
    long double sum = 0;
    for (float l : row) sum += std::exp(static_cast<long double>(l) - max);
    EXPECT_NEAR(exp_sum(row, max) / static_cast<double>(sum), 1, 1e-14);
  }
}

}  // namespace
}  // namespace continuo::test
