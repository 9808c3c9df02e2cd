#include "io/half.h"

#include <cmath>

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(Half, EveryBitPatternSurvives) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = half_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      ASSERT_EQ(float_to_half(value), half);
    }
    const float wide = bfloat16_to_float(half);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(wide))));
    } else {
      ASSERT_EQ(float_to_bfloat16(wide), half);
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(half_to_float(float_to_half(2049.0F)), 2048.0F);
  EXPECT_EQ(half_to_float(float_to_half(2051.0F)), 2052.0F);
  EXPECT_EQ(half_to_float(float_to_half(65519.0F)), 65504.0F);
  EXPECT_TRUE(std::isinf(half_to_float(float_to_half(65520.0F))));
  EXPECT_EQ(half_to_float(float_to_half(0x1p-25F)), 0.0F);
  EXPECT_EQ(half_to_float(float_to_half(0x1.8p-24F)), 0x1p-23F);
  EXPECT_EQ(half_to_float(float_to_half(-0x1.8p-25F)), -0x1p-24F);
  EXPECT_EQ(bfloat16_to_float(float_to_bfloat16(257.0F)), 256.0F);
  EXPECT_EQ(bfloat16_to_float(float_to_bfloat16(259.0F)), 260.0F);
}

}  // namespace
}  // namespace continuo
