// Packed products and the engine's attention against double precision, for every instruction set
// and odd shapes.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "nn/cpu/kernels/kernels.h"

namespace continuo {
namespace {

std::vector<float> waves(int64_t n, int salt) {
  std::vector<float> v(n);
  for (int64_t i = 0; i < n; ++i)
    v[i] = std::sin(0.37f * static_cast<float>(i * 5 + salt)) * (1 + static_cast<float>(i % 7));
  return v;
}

float widened(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

struct Rows {
  std::vector<float> floats, scales, totals, seen;  // seen: the values that a product works with
  std::vector<uint16_t> halves;
  std::vector<int8_t> integers;
  std::vector<int32_t> sums;

  // Of rows of `stride` values from number `row` on.
  PackedInput from(int64_t row, int64_t stride) const {
    const auto at = [row, stride](const auto& v, int64_t values) {
      return v.empty() ? nullptr : v.data() + row * stride / values;
    };
    return {at(floats, 1),           at(halves, 1),         at(integers, 1),
            at(scales, kQuantBlock), at(sums, kQuantGroup), at(totals, kQuantBlock)};
  }
};

Rows activation_rows(const PackedKernels& k, PanelFormat format, int64_t rows, int64_t in) {
  const int64_t stride = packed_inputs(in), n = rows * stride;
  Rows a;
  a.floats.assign(n, 0);
  const std::vector<float> values = waves(rows * in, 3);
  for (int64_t r = 0; r < rows; ++r)
    std::copy_n(values.data() + r * in, in, a.floats.data() + r * stride);
  a.seen = a.floats;
  if (format == PanelFormat::bf16) {
    a.halves.resize(n);
    k.round(n, a.floats.data(), a.halves.data());
    for (int64_t i = 0; i < n; ++i) a.seen[i] = widened(a.halves[i]);
  } else if (format != PanelFormat::f32) {
    a.integers.resize(n);
    a.scales.resize(n / kQuantBlock);
    a.totals.resize(n / kQuantBlock);
    a.sums.resize(n / kQuantGroup);
    k.quantise(n, a.floats.data(),
               {a.integers.data(), a.scales.data(), a.sums.data(), a.totals.data()});
    for (int64_t i = 0; i < n; ++i) {
      a.seen[i] = static_cast<float>(a.integers[i]) * a.scales[i / kQuantBlock];
      EXPECT_LE(std::abs(a.seen[i] - a.floats[i]), 0.51f * a.scales[i / kQuantBlock]);
    }
  }
  return a;
}

using Case = std::tuple<const char*, PanelFormat>;

class PackedKernelTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Kernels* table = kernels_for(std::get<0>(GetParam()));
    if (!table) GTEST_SKIP() << "this CPU has no " << std::get<0>(GetParam());
    kernels_ = &table->packed;
    format_ = std::get<1>(GetParam());
  }

  // Panels of `out` rows, the last one padded.
  std::vector<std::byte> packed(const std::vector<float>& w, int64_t out, int64_t in) const {
    const int64_t panels = (out + kPanel - 1) / kPanel, bytes = panel_bytes(format_, in);
    std::vector<std::byte> data(panels * bytes);
    for (int64_t p = 0; p < panels; ++p) {
      const float* rows[kPanel] = {};
      for (int64_t r = 0; r < kPanel && p * kPanel + r < out; ++r)
        rows[r] = w.data() + (p * kPanel + r) * in;
      kernels_->pack(format_, in, rows, data.data() + p * bytes);
    }
    return data;
  }

  const PackedKernels* kernels_ = nullptr;
  PanelFormat format_ = PanelFormat::f32;
};

TEST_P(PackedKernelTest, PackingKeepsWhatTheFormatCan) {
  for (const int64_t in : {1, 31, 32, 33, 100, 576}) {
    const std::vector<float> w = waves(kPanel * in, 1);
    const std::vector<std::byte> data = packed(w, kPanel, in);
    std::vector<float> back(in);
    for (int64_t r = 0; r < kPanel; ++r) {
      kernels_->unpack(format_, in, data.data(), r, back.data());
      for (int64_t k = 0; k < in; ++k) {
        float largest = 0;
        for (int64_t i = k / 32 * 32; i < std::min(in, k / 32 * 32 + 32); ++i)
          largest = std::max(largest, std::abs(w[r * in + i]));
        const float allowed = format_ == PanelFormat::f32    ? 0
                              : format_ == PanelFormat::bf16 ? std::abs(w[r * in + k]) / 256
                              : format_ == PanelFormat::q8   ? largest / 127 * 0.52f
                                                             : largest / 8 * 1.6f;
        ASSERT_LE(std::abs(back[k] - w[r * in + k]), allowed)
            << "row " << r << " k " << k << " of " << in;
      }
    }
  }
}

TEST_P(PackedKernelTest, PanelsAreUnpackedAsTheirRowsAre) {
  for (const int64_t in : {1, 31, 33, 64, 100, 576}) {
    const std::vector<std::byte> data = packed(waves(kPanel * in, 3), kPanel, in);
    std::vector<float> all(kPanel * in, -1.0f), row(in);
    float* rows[kPanel] = {};
    for (int64_t r = 0; r < kPanel; ++r) rows[r] = r % 5 == 4 ? nullptr : all.data() + r * in;
    kernels_->unpack_panel(format_, in, data.data(), rows);
    for (int64_t r = 0; r < kPanel; ++r) {
      kernels_->unpack(format_, in, data.data(), r, row.data());
      for (int64_t k = 0; k < in; ++k)
        ASSERT_EQ(all[r * in + k], rows[r] ? row[k] : -1.0f) << "row " << r << " k " << k;
    }
  }
}

TEST_P(PackedKernelTest, FourBitsKeepWeightsOfSixteenEvenSteps) {
  if (format_ != PanelFormat::q4) GTEST_SKIP() << "of q4 alone";
  constexpr int64_t kIn = 96;
  std::vector<float> w(kPanel * kIn);
  for (int64_t r = 0; r < kPanel; ++r) {
    for (int64_t k = 0; k < kIn; ++k) {
      // Scales and minima are halves; both ends of the codes occur in every block.
      const int64_t code = k % 32 == r ? 15 : k % 32 == (r + 7) % 32 ? 0 : (5 * k + 3 * r) % 16;
      const auto scale = 0x1p-10f * static_cast<float>(40 + r + k / 32);
      w[r * kIn + k] = scale * static_cast<float>(code) - 0x1p-8f * static_cast<float>(90 + r);
    }
  }
  const std::vector<std::byte> data = packed(w, kPanel, kIn);
  std::vector<float> row(kIn);
  for (int64_t r = 0; r < kPanel; ++r) {
    kernels_->unpack(format_, kIn, data.data(), r, row.data());
    for (int64_t k = 0; k < kIn; ++k) ASSERT_EQ(row[k], w[r * kIn + k]) << r << ", " << k;
  }
}

TEST_P(PackedKernelTest, ProductsMatchDoublePrecisionWhateverTheRows) {
  for (const int64_t in : {1, 31, 32, 33, 64, 100, 576}) {
    for (const int64_t out : {int64_t{1}, kPanel, kPanel + 5}) {
      const std::vector<float> w = waves(out * in, 2);
      const std::vector<std::byte> data = packed(w, out, in);
      const int64_t panels = (out + kPanel - 1) / kPanel, stride = panels * kPanel;
      std::vector<double> weights(out * in);
      std::vector<float> row(in);
      for (int64_t n = 0; n < out; ++n) {
        kernels_->unpack(format_, in, data.data() + n / kPanel * panel_bytes(format_, in),
                         n % kPanel, row.data());
        for (int64_t k = 0; k < in; ++k) weights[n * in + k] = row[k];
      }
      for (const int64_t rows : {1, 2, 5, 6, 7, 8, 13, 33}) {
        const Rows a = activation_rows(*kernels_, format_, rows, in);
        std::vector<float> y(rows * stride), alone(stride);
        const Activations reads = activations_of(format_);
        kernels_->product(
            {format_, reads, rows, in, a.from(0, packed_inputs(in)), data.data(), y.data(), stride},
            0, panels);
        for (int64_t m = 0; m < rows; ++m) {
          for (int64_t n = 0; n < out; ++n) {
            double sum = 0, size = 0;
            for (int64_t k = 0; k < in; ++k) {
              const double term = weights[n * in + k] * a.seen[m * packed_inputs(in) + k];
              sum += term;
              size += std::abs(term);
            }
            ASSERT_NEAR(y[m * stride + n], sum, 2e-6 * size + 1e-12)
                << in << " in, row " << m << " of " << rows << ", " << n;
          }
        }
        const int64_t last = rows - 1;
        kernels_->product({format_, reads, 1, in, a.from(last, packed_inputs(in)), data.data(),
                           alone.data(), stride},
                          0, panels);
        EXPECT_EQ(std::memcmp(alone.data(), y.data() + last * stride, stride * sizeof(float)), 0)
            << "a row's bits depend on the " << rows << " rows";
      }
    }
  }
}

// Of one instruction set: panels that are stored shorter.
class CompressedPanelTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Kernels* table = kernels_for(std::get<0>(GetParam()));
    if (!table) GTEST_SKIP() << "this CPU has no " << std::get<0>(GetParam());
    kernels_ = &table->packed;
    format_ = std::get<1>(GetParam());
    plain_ = format_ == PanelFormat::bf16_in_12 ? PanelFormat::bf16 : PanelFormat::f32;
  }

  // Of magnitudes from `smallest` to 1; bfloat16 where the format holds nothing else.
  std::vector<float> weights(int64_t n, float smallest) const {
    std::vector<float> w(n);
    for (int64_t i = 0; i < n; ++i) {
      const float share = static_cast<float>(i * 7919 % 1009) / 1009;
      w[i] = std::pow(smallest, share) * (i * 31 % 7 < 3 ? -1.0f : 1.0f);
      if (format_ == PanelFormat::f32_in_12) {
        uint32_t bits;
        std::memcpy(&bits, &w[i], sizeof bits);
        bits &= 0xffff0000u;
        std::memcpy(&w[i], &bits, sizeof bits);
      }
    }
    return w;
  }
  std::vector<const float*> rows_of(const std::vector<float>& w, int64_t in) const {
    std::vector<const float*> rows(kPanel);
    for (int64_t r = 0; r < kPanel; ++r) rows[r] = r == 5 ? nullptr : w.data() + r * in;
    return rows;
  }

  const PackedKernels* kernels_ = nullptr;
  PanelFormat format_ = PanelFormat::f32, plain_ = PanelFormat::f32;
};

TEST_P(CompressedPanelTest, EveryWeightIsKeptExactlyInThePanelOrBesideIt) {
  for (const int64_t in : {1, 31, 32, 33, 100}) {
    std::vector<float> w = weights(kPanel * in, 1e-12f);
    w[0] = 0.0f;
    w.back() = -0.0f;
    w[w.size() / 2] = 0x1p-130f;
    if (in > 2) w[1] = INFINITY;
    const auto rows = rows_of(w, in);
    std::vector<std::byte> shorter(panel_bytes(format_, in)), plain(panel_bytes(plain_, in));
    std::vector<Exception> exceptions(kPanel * in);
    const int64_t count = kernels_->compress(format_, in, rows.data(), shorter.data(),
                                             exceptions.data(), kPanel * in);
    ASSERT_LE(count, kPanel * in);
    if (in == 100) {
      EXPECT_GT(count, 100);
      EXPECT_EQ(kernels_->compress(format_, in, rows.data(), shorter.data(), exceptions.data(), 50),
                51);
      kernels_->compress(format_, in, rows.data(), shorter.data(), exceptions.data(), kPanel * in);
    }
    kernels_->pack(plain_, in, rows.data(), plain.data());
    std::vector<float> found(in), expected(in);
    for (int64_t r = 0; r < kPanel; ++r) {
      kernels_->unpack(format_, in, shorter.data(), r, found.data());
      kernels_->unpack(plain_, in, plain.data(), r, expected.data());
      for (int64_t i = 0; i < count; ++i) {
        if (exceptions[i].n != r) continue;
        EXPECT_EQ(found[exceptions[i].k], 0.0f) << "an exception counts twice";
        found[exceptions[i].k] = exceptions[i].value;
      }
      ASSERT_EQ(std::memcmp(found.data(), expected.data(), in * sizeof(float)), 0)
          << "row " << r << " of " << in;
    }
  }
}

TEST_P(CompressedPanelTest, ProductsHaveTheBitsOfThePlainFormat) {
  const int64_t in = 100;
  const std::vector<float> w = weights(kPanel * in, 1e-3f);
  const auto one = rows_of(w, in);
  std::vector<std::byte> shorter(2 * panel_bytes(format_, in)), plain(2 * panel_bytes(plain_, in));
  for (int64_t p = 0; p < 2; ++p) {
    Exception none;
    ASSERT_EQ(kernels_->compress(format_, in, one.data(),
                                 shorter.data() + p * panel_bytes(format_, in), &none, 0),
              0);
    kernels_->pack(plain_, in, one.data(), plain.data() + p * panel_bytes(plain_, in));
  }
  for (const int64_t rows : {1, 2, 7, 8, 9, 33}) {
    const Rows a = activation_rows(*kernels_, plain_, rows, in);
    std::vector<float> found(rows * 2 * kPanel), expected(rows * 2 * kPanel);
    const Activations reads = activations_of(format_);
    const PackedInput x = a.from(0, packed_inputs(in));
    kernels_->product({format_, reads, rows, in, x, shorter.data(), found.data(), 2 * kPanel}, 0,
                      2);
    kernels_->product({plain_, reads, rows, in, x, plain.data(), expected.data(), 2 * kPanel}, 0,
                      2);
    EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)), 0)
        << rows << " rows";
  }
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  constexpr const char* kFormats[] = {"f32",       "bf16",      "q8",        "q4",
                                      "f32_in_28", "f32_in_12", "bf16_in_12"};
  return std::string(std::get<0>(info.param)) + "_" +
         kFormats[static_cast<int>(std::get<1>(info.param))];
}

INSTANTIATE_TEST_SUITE_P(All, PackedKernelTest,
                         testing::Combine(testing::ValuesIn(kInstructionSets),
                                          testing::Values(PanelFormat::f32, PanelFormat::bf16,
                                                          PanelFormat::q8, PanelFormat::q4)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(All, CompressedPanelTest,
                         testing::Combine(testing::ValuesIn(kInstructionSets),
                                          testing::Values(PanelFormat::f32_in_28,
                                                          PanelFormat::f32_in_12,
                                                          PanelFormat::bf16_in_12)),
                         case_name);

}  // namespace
}  // namespace continuo
