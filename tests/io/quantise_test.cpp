#include "io/quantise.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "io/error_text.h"

namespace continuo {
namespace {

using test::contains;
using test::error_text;

std::vector<std::byte> encode(GgmlType type, const std::vector<float>& values) {
  const GgmlFormat& format = ggml_format(type);
  std::vector<std::byte> blocks(values.size() / static_cast<size_t>(format.block_size) *
                                static_cast<size_t>(format.block_bytes));
  quantise(type, values, blocks);
  return blocks;
}

std::vector<float> there_and_back(GgmlType type, const std::vector<float>& values) {
  std::vector<float> result(values.size());
  dequantise(type, encode(type, values), result);
  return result;
}

std::vector<float> normal_values(size_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(engine);
  return values;
}

// Root of the mean squared error over the root of the mean square.
double relative_error(GgmlType type, const std::vector<float>& values) {
  const std::vector<float> back = there_and_back(type, values);
  double error = 0, power = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(double{back[i]} - values[i], 2);
    power += std::pow(double{values[i]}, 2);
  }
  return std::sqrt(error / power);
}

TEST(GgmlFormats, TheTableIsSortedAndNamesAreFound) {
  int64_t last = -1;
  for (const GgmlFormat& format : ggml_formats()) {
    EXPECT_GT(static_cast<int64_t>(format.type), last);
    last = static_cast<int64_t>(format.type);
    EXPECT_EQ(find_ggml_format(format.name), &format);
    EXPECT_EQ(find_ggml_format(static_cast<uint32_t>(format.type)), &format);
  }
  EXPECT_EQ(find_ggml_format("q4_k")->type, GgmlType::kQ4_K);
  EXPECT_EQ(find_ggml_format("Q4"), nullptr);
  EXPECT_EQ(find_ggml_format(4U), nullptr);
}

TEST(Quantise, ErrorsOfGaussianWeights) {
  const std::vector<float> values = normal_values(256 * 64, 1);
  // Uniform quantisation of a normal variable: the bits set the scale of these figures.
  EXPECT_LT(relative_error(GgmlType::kF16, values), 3e-4);
  EXPECT_LT(relative_error(GgmlType::kBF16, values), 2e-3);
  EXPECT_LT(relative_error(GgmlType::kQ8_0, values), 0.006);
  EXPECT_LT(relative_error(GgmlType::kQ4_0, values), 0.095);
  EXPECT_LT(relative_error(GgmlType::kQ4_1, values), 0.072);
  EXPECT_LT(relative_error(GgmlType::kQ5_0, values), 0.042);
  EXPECT_LT(relative_error(GgmlType::kQ5_1, values), 0.036);
  EXPECT_LT(relative_error(GgmlType::kQ4_K, values), 0.075);
  EXPECT_EQ(relative_error(GgmlType::kF32, values), 0);
}

TEST(Quantise, Q4KFollowsEachSubBlocksScale) {
  std::vector<float> values = normal_values(256, 2);
  for (size_t i = 0; i < 256; ++i) values[i] = values[i] * std::pow(2.0F, float(i / 32)) + 3.0F;
  EXPECT_LT(relative_error(GgmlType::kQ4_K, values), 0.09);
}

TEST(Quantise, ValuesOnTheGridOfQ4KAreExact) {
  std::vector<float> values(512);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = 0.25F * static_cast<float>(i * 7 % 16) - 1.75F;
  }
  const std::vector<float> back = there_and_back(GgmlType::kQ4_K, values);
  for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(back[i], values[i], 2e-3) << i;
}

// The very values, out of every code.
TEST(Quantise, ValuesOnALineAreFoundAgain) {
  for (const auto& [type, least, most] :
       {std::tuple{GgmlType::kQ4_1, 0, 15}, {GgmlType::kQ5_0, -16, 15}, {GgmlType::kQ5_1, 0, 31}}) {
    std::vector<float> values(96);
    for (size_t i = 0; i < values.size(); ++i) {
      const int code = static_cast<int>(i * 7) % (most - least + 1) + least;
      values[i] = 0.375F * static_cast<float>(code) - (least == 0 ? 1.5F : 0.0F);
    }
    EXPECT_EQ(there_and_back(type, values), values) << ggml_format(type).name;
  }
}

TEST(Quantise, DegenerateBlocks) {
  for (const GgmlType type : {GgmlType::kQ8_0, GgmlType::kQ4_0, GgmlType::kQ4_1, GgmlType::kQ5_0,
                              GgmlType::kQ5_1, GgmlType::kQ4_K}) {
    for (const float value : {0.0F, -0.0F, 1e-41F, -1e-41F, 1e-20F, -1e-38F}) {
      for (const float back : there_and_back(type, std::vector<float>(256, value))) {
        EXPECT_EQ(back, 0.0F) << ggml_format(type).name << " " << value;
      }
    }
    for (const float value : {1.0F, -1.0F, 65504.0F, -65504.0F, 3e-5F}) {
      for (const float back : there_and_back(type, std::vector<float>(256, value))) {
        EXPECT_NEAR(back, value, std::abs(value) * 0.02) << ggml_format(type).name << " " << value;
      }
    }
  }
}

TEST(Quantise, ValuesThatCannotBeStored) {
  const float bad[] = {std::numeric_limits<float>::infinity(),
                       std::numeric_limits<float>::quiet_NaN(), 65536.0F, -1e30F};
  for (const float value : bad) {
    std::vector<float> values(256, 1.0F);
    values[77] = value;
    for (const GgmlType type : {GgmlType::kF16, GgmlType::kQ8_0, GgmlType::kQ4_0, GgmlType::kQ4_1,
                                GgmlType::kQ5_0, GgmlType::kQ5_1, GgmlType::kQ4_K}) {
      EXPECT_TRUE(contains(error_text([&] { encode(type, values); }), "cannot be stored as"));
    }
    EXPECT_EQ(error_text([&] { encode(GgmlType::kBF16, values); }), "");
    EXPECT_EQ(error_text([&] { encode(GgmlType::kF32, values); }), "");
  }
}

TEST(Quantise, SizesAndFormatsAreChecked) {
  std::vector<float> values(48);
  std::vector<std::byte> blocks(34);
  EXPECT_TRUE(contains(error_text([&] { quantise(GgmlType::kQ8_0, values, blocks); }),
                       "34 bytes cannot hold 48 values as Q8_0"));
  EXPECT_TRUE(contains(error_text([&] { dequantise(GgmlType::kQ8_0, blocks, values); }),
                       "34 bytes cannot hold 48 values"));
  EXPECT_TRUE(contains(error_text([&] { dequantise(GgmlType::kIQ1_S, blocks, values); }),
                       "IQ1_S cannot be decoded"));
  EXPECT_TRUE(contains(error_text([&] { quantise(GgmlType::kQ6_K, values, blocks); }),
                       "Q6_K cannot be produced"));
  EXPECT_TRUE(contains(error_text([&] { ggml_format(GgmlType{4}); }), "type 4 is not known"));
}

}  // namespace
}  // namespace continuo
