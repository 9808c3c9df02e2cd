// A file's quantised blocks served as they lie, against the same weights decoded to float32.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "io/quantise.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/packed_matrix.h"

namespace continuo {
namespace {

struct Case {
  BlockFormat format;
  GgmlType type;
};
constexpr Case kCases[] = {
    {BlockFormat::q4_0, GgmlType::kQ4_0}, {BlockFormat::q4_1, GgmlType::kQ4_1},
    {BlockFormat::q5_0, GgmlType::kQ5_0}, {BlockFormat::q5_1, GgmlType::kQ5_1},
    {BlockFormat::q8_0, GgmlType::kQ8_0}, {BlockFormat::q4_k, GgmlType::kQ4_K},
    {BlockFormat::q5_k, GgmlType::kQ5_K}, {BlockFormat::q6_k, GgmlType::kQ6_K}};
constexpr int64_t kIn = 768;  // three super-blocks

// Where the halves of a block lie.
std::vector<int64_t> halves_of(GgmlType type) {
  switch (type) {
    case GgmlType::kQ4_1:
    case GgmlType::kQ5_1:
    case GgmlType::kQ4_K:
    case GgmlType::kQ5_K:
      return {0, 2};
    case GgmlType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

// Random blocks of `rows` rows: any bytes, but halves of ordinary size, of either sign.
at::Tensor random_blocks(GgmlType type, int64_t rows, uint64_t seed) {
  const GgmlFormat& format = ggml_format(type);
  const int64_t count = kIn / format.block_size;
  at::Tensor blocks = at::empty({rows, count * format.block_bytes}, at::kByte);
  auto* bytes = blocks.mutable_data_ptr<uint8_t>();
  std::mt19937_64 random(seed);
  for (int64_t i = 0; i < blocks.numel(); ++i) bytes[i] = static_cast<uint8_t>(random());
  for (int64_t b = 0; b < rows * count; ++b) {
    for (const int64_t at : halves_of(type)) {
      // An exponent between 2^-12 and 2^-5.
      const auto half = static_cast<uint16_t>((random() & 0x83ff) | (3 + random() % 8) << 10);
      std::memcpy(bytes + b * format.block_bytes + at, &half, sizeof half);
    }
  }
  return blocks;
}

at::Tensor decoded(GgmlType type, const at::Tensor& blocks) {
  at::Tensor values = at::empty({blocks.size(0), kIn}, at::kFloat);
  dequantise(type,
             {reinterpret_cast<const std::byte*>(blocks.const_data_ptr()),
              static_cast<size_t>(blocks.nbytes())},
             {values.mutable_data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values;
}

WeightMatrix matrix(const Case& c, const at::Tensor& blocks) {
  const at::Tensor values = decoded(c.type, blocks);
  const auto rows_of = [](const at::Tensor& t) {
    return [t](int64_t begin, int64_t end) { return t.narrow(0, begin, end - begin); };
  };
  return {blocks.size(0), kIn, rows_of(values), WeightMatrix::BlockRows{c.format, rows_of(blocks)}};
}

std::unique_ptr<PanelArena> arena_for(const PanelRows& rows) {
  return std::make_unique<PanelArena>(packed_bytes(WeightFormat::f32, rows));
}

// A matrix of blocks in panels, and its weights in float32.
struct Laid {
  at::Tensor values;
  std::unique_ptr<PanelArena> arena;
  PackedMatrix packed;

  Laid(const Case& c, const at::Tensor& blocks, WeightFormat format)
      : values(decoded(c.type, blocks)) {
    const PanelRows rows({matrix(c, blocks)});
    arena = arena_for(rows);
    packed = pack(*arena, format, rows);
  }
};

at::Tensor times(const PackedMatrix& w, const at::Tensor& x) {
  const at::Tensor y = at::empty({x.size(0), w.stride_out()}, at::kFloat);
  product(w, x.size(0), {.values = x.const_data_ptr<float>()}, 0, w.panels,
          y.mutable_data_ptr<float>());
  return y;
}

// The rows of activations as products of integers read them, and what they are worth.
struct Rounded {
  std::vector<int8_t> integers;
  std::vector<float> scales, totals;
  std::vector<int32_t> sums;

  explicit Rounded(const at::Tensor& x)
      : integers(x.numel()),
        scales(x.numel() / kQuantBlock),
        totals(x.numel() / kQuantBlock),
        sums(x.numel() / kQuantGroup) {
    kernels().packed.quantise(x.numel(), x.const_data_ptr<float>(),
                              {integers.data(), scales.data(), sums.data(), totals.data()});
  }
  PackedInput from(int64_t row) const {
    const int64_t at = row * kIn;
    return {.integers = integers.data() + at,
            .scales = scales.data() + at / kQuantBlock,
            .sums = sums.data() + at / kQuantGroup,
            .totals = totals.data() + at / kQuantBlock};
  }
  double value(int64_t i) const {
    return static_cast<double>(integers[i]) * static_cast<double>(scales[i / kQuantBlock]);
  }
};

// Products of integers against the same in double precision; their rows alone have the same bits.
void expect_integer_products(const PackedMatrix& packed, const at::Tensor& weights,
                             const at::Tensor& x, const std::string& what) {
  const Rounded rounded(x);
  const at::Tensor y = at::empty({x.size(0), packed.stride_out()}, at::kFloat),
                   alone = at::empty({packed.stride_out()}, at::kFloat);
  product(packed, x.size(0), rounded.from(0), 0, packed.panels, y.mutable_data_ptr<float>());
  const auto* w = weights.const_data_ptr<float>();
  const auto* found = y.const_data_ptr<float>();
  for (int64_t m = 0; m < x.size(0); ++m) {
    for (int64_t n = 0; n < weights.size(0); ++n) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < kIn; ++k) {
        const double term = static_cast<double>(w[n * kIn + k]) * rounded.value(m * kIn + k);
        sum += term;
        size += std::abs(term);
      }
      ASSERT_NEAR(found[m * packed.stride_out() + n], sum, 2e-6 * size + 1e-12)
          << what << ", row " << m << " of " << x.size(0) << ", " << n;
    }
    product(packed, 1, rounded.from(m), 0, packed.panels, alone.mutable_data_ptr<float>());
    ASSERT_TRUE(y[m].equal(alone)) << what << ", row " << m << " of " << x.size(0);
  }
}

// Panels of plain floats, whose sums are what is asked for.
at::Tensor times_floats(const at::Tensor& weights, const at::Tensor& x) {
  const int64_t panels = (weights.size(0) + kPanel - 1) / kPanel,
                bytes = panel_bytes(PanelFormat::f32, kIn);
  std::vector<std::byte> memory(static_cast<size_t>(panels * bytes));
  for (int64_t p = 0; p < panels; ++p) {
    const float* rows[kPanel] = {};
    for (int64_t r = 0; r < kPanel && p * kPanel + r < weights.size(0); ++r)
      rows[r] = weights.const_data_ptr<float>() + (p * kPanel + r) * kIn;
    kernels().packed.pack(PanelFormat::f32, kIn, rows, memory.data() + p * bytes);
  }
  return times(
      {.in = kIn, .panels = panels, .runs = {{PanelFormat::f32, 0, panels, memory.data()}}}, x);
}

TEST(StoredBlocks, AreTheWeightsOfTheFileBitForBit) {
  for (const Case& c : kCases) {
    const Laid laid(c, random_blocks(c.type, 70, 1), WeightFormat::f32);
    const auto& [values, arena, packed] = laid;
    EXPECT_TRUE(holds_blocks(packed.format())) << name(c.format);
    // Three panels take less than one of floats.
    EXPECT_LT(packed.bytes(), panel_bytes(PanelFormat::f32, kIn)) << name(c.format);
    EXPECT_TRUE(unpack(packed, 70).equal(values)) << name(c.format);
  }
}

TEST(StoredBlocks, ProductsAreThoseOfFloatsBitForBit) {
  for (const Case& c : kCases) {
    const Laid laid(c, random_blocks(c.type, 70, 2), WeightFormat::f32);
    const auto& [values, arena, packed] = laid;
    for (const int64_t count : {1, 2, 3, 8, 20}) {
      const at::Tensor x = at::randn({count, kIn});
      EXPECT_TRUE(times(packed, x).equal(times_floats(values, x)))
          << name(c.format) << ", " << count << " rows";
    }
  }
}

TEST(StoredBlocks, ProductsOfIntegersMatchDoublePrecisionWhateverTheRows) {
  for (const Case& c : kCases) {
    const Laid laid(c, random_blocks(c.type, 70, 9), WeightFormat::blocks);
    const auto& [values, arena, packed] = laid;
    EXPECT_EQ(packed.reads, Activations::integers);
    EXPECT_TRUE(unpack(packed, 70).equal(values)) << name(c.format);
    for (const int64_t count : {1, 2, 3, 4, 7, 20})
      expect_integer_products(packed, values, at::randn({count, kIn}), std::string(name(c.format)));
  }
}

// What overflows first where sums are of 16 bits.
TEST(StoredBlocks, ProductsOfTheLargestIntegersAreExact) {
  for (const Case& c : kCases) {
    for (const int byte : {0x00, 0x7f, 0x80, 0xff}) {
      at::Tensor blocks = random_blocks(c.type, 32, 10);
      const GgmlFormat& format = ggml_format(c.type);
      auto* bytes = blocks.mutable_data_ptr<uint8_t>();
      const std::vector<int64_t> halves = halves_of(c.type);
      for (int64_t i = 0; i < blocks.numel(); ++i) {
        const int64_t at = i % format.block_bytes;
        const bool half = std::ranges::any_of(
            halves, [at](int64_t first) { return at == first || at == first + 1; });
        if (!half) bytes[i] = static_cast<uint8_t>(byte);
      }
      const Laid laid(c, blocks, WeightFormat::blocks);
      const auto& [values, arena, packed] = laid;
      for (const float sign : {1.0f, -1.0f}) {
        expect_integer_products(packed, values, at::full({4, kIn}, sign * 3),
                                std::string(name(c.format)) + " of " + std::to_string(byte));
      }
    }
  }
}

TEST(StoredBlocks, PartsOfOneProductKeepTheirOwnFormats) {
  for (const Case& first : kCases) {
    const Case& second = kCases[(&first - kCases + 3) % std::size(kCases)];
    const at::Tensor a = random_blocks(first.type, 64, 3), b = random_blocks(second.type, 40, 4);
    const PanelRows rows({matrix(first, a), matrix(first, a), matrix(second, b)});
    const auto arena = arena_for(rows);
    const PackedMatrix packed = pack(*arena, WeightFormat::f32, rows);
    EXPECT_EQ(packed.runs.size(), 2U);
    const at::Tensor values = unpack(packed, 168);
    EXPECT_TRUE(values.narrow(0, 64, 64).equal(decoded(first.type, a)));
    EXPECT_TRUE(values.narrow(0, 128, 40).equal(decoded(second.type, b)));
    const at::Tensor x = at::randn({4, kIn});
    EXPECT_TRUE(times(packed, x).equal(times_floats(values, x)));
    const auto other = arena_for(rows);
    expect_integer_products(pack(*other, WeightFormat::blocks, rows), values, x, "two formats");
  }
}

TEST(StoredBlocks, PairsShareTheirPanels) {
  const Case& c = kCases[5];
  const at::Tensor a = random_blocks(c.type, 40, 5), b = random_blocks(c.type, 40, 6);
  const PanelRows rows({matrix(c, a), matrix(c, b)}, true);
  const auto arena = arena_for(rows);
  const PackedMatrix packed = pack(*arena, WeightFormat::f32, rows);
  EXPECT_TRUE(holds_blocks(packed.format()));
  const at::Tensor values = unpack(packed, 96);
  EXPECT_TRUE(values.narrow(0, 32, 16).equal(decoded(c.type, a).narrow(0, 16, 16)));
  EXPECT_TRUE(values.narrow(0, 80, 8).equal(decoded(c.type, b).narrow(0, 32, 8)));
}

TEST(StoredBlocks, WhatNoPanelCanHoldIsDecoded) {
  // The second part begins within a panel; a pair has two formats.
  const at::Tensor a = random_blocks(kCases[0].type, 40, 7),
                   b = random_blocks(kCases[4].type, 40, 8);
  for (const bool paired : {false, true}) {
    const PanelRows rows({matrix(kCases[0], a), matrix(kCases[4], b)}, paired);
    const auto arena = arena_for(rows);
    const PackedMatrix packed = pack(*arena, WeightFormat::f32, rows);
    EXPECT_FALSE(holds_blocks(packed.format()));
    const at::Tensor values = unpack(packed, paired ? 96 : 80);
    EXPECT_TRUE(
        values.narrow(0, paired ? 16 : 40, 16).equal(decoded(kCases[4].type, b).narrow(0, 0, 16)));
  }
}

}  // namespace
}  // namespace continuo
