#include "io/calibrated_blocks.h"

#include <cmath>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace continuo {
namespace {

constexpr GgmlType kTypes[] = {GgmlType::kQ4_0, GgmlType::kQ4_1, GgmlType::kQ5_0,
                               GgmlType::kQ5_1, GgmlType::kQ8_0, GgmlType::kQ4_K};

at::Tensor normal(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed));
}

// What blocks of a matrix's rows say, [out, in].
at::Tensor values_of(GgmlType type, const at::Tensor& blocks, int64_t in) {
  at::Tensor values = at::empty({blocks.size(0), in}, at::kFloat);
  dequantise(
      type,
      {static_cast<const std::byte*>(blocks.const_data_ptr()), static_cast<size_t>(blocks.numel())},
      {values.mutable_data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values;
}

at::Tensor nearest(GgmlType type, const at::Tensor& matrix) {
  const GgmlFormat& format = ggml_format(type);
  at::Tensor blocks = at::empty(
      {matrix.size(0), matrix.size(1) / format.block_size * format.block_bytes}, at::kByte);
  quantise(
      type, {matrix.const_data_ptr<float>(), static_cast<size_t>(matrix.numel())},
      {static_cast<std::byte*>(blocks.mutable_data_ptr()), static_cast<size_t>(blocks.numel())});
  return values_of(type, blocks, matrix.size(1));
}

double squares(const at::Tensor& x) { return x.square().sum(at::kDouble).item<double>(); }

// Σ of the squares by which products with `inputs` miss, calibrated by them over nearest.
struct Inputs {
  explicit Inputs(const at::Tensor& x) : inputs(x), factor(x) {}

  double ratio(GgmlType type, const at::Tensor& matrix) const {
    const at::Tensor made = calibrated_blocks(type, matrix, factor);
    return missed(values_of(type, made, matrix.size(1)) - matrix) /
           missed(nearest(type, matrix) - matrix);
  }
  double missed(const at::Tensor& difference) const {
    return squares(at::mm(inputs, difference.t()));
  }

  at::Tensor inputs;
  InputFactor factor;
};

TEST(CalibratedBlocks, ProductsWithInputsThatGoTogetherMissByLess) {
  const at::Tensor matrix = normal({48, 512}, 1);
  // 64 directions that carry most, and a little noise.
  const Inputs together(at::mm(normal({2000, 64}, 2), normal({64, 512}, 3)) +
                        0.3 * normal({2000, 512}, 4));
  // Inputs that have nothing to do with each other leave nothing to make up for.
  const Inputs white(normal({8000, 512}, 5));
  for (const GgmlType type : kTypes) {
    SCOPED_TRACE(ggml_format(type).name);
    EXPECT_LT(together.ratio(type, matrix), 0.35);
    // ggml's Q4_0 does not search its scales.
    const double least = type == GgmlType::kQ4_0 ? 0.8 : 0.93;
    const double alone = white.ratio(type, matrix);
    EXPECT_GT(alone, least);
    EXPECT_LT(alone, 1.05);
  }
}

// The product of an input that is twenty times as large comes out right at the others' cost.
TEST(CalibratedBlocks, LinesWeighValuesByTheirInputs) {
  const at::Tensor matrix = normal({64, 256}, 6);
  at::Tensor inputs = normal({4000, 256}, 7);
  for (int64_t i = 5; i < 256; i += 32) inputs.select(1, i).mul_(20);
  for (const GgmlType type : {GgmlType::kQ4_1, GgmlType::kQ5_0, GgmlType::kQ4_K}) {
    SCOPED_TRACE(ggml_format(type).name);
    const at::Tensor made = calibrated_blocks(type, matrix, InputFactor(inputs));
    const at::Tensor missed = (values_of(type, made, 256) - matrix).square().mean(0);
    const at::Tensor by_column = missed.view({8, 32}).mean(0);
    EXPECT_LT(by_column[5].item<double>(), 0.35 * by_column.mean().item<double>());
  }
}

// As some channels of trained models are: the others still get lines of their own.
TEST(CalibratedBlocks, AnInputThatDwarfsTheOthersTakesNothingFromThem) {
  const at::Tensor matrix = normal({32, 256}, 15);
  const at::Tensor inputs = normal({4000, 256}, 16);
  at::Tensor dwarfing = inputs.clone();
  for (int64_t i = 9; i < 256; i += 32) dwarfing.select(1, i).mul_(3000);
  for (const GgmlType type : kTypes) {
    SCOPED_TRACE(ggml_format(type).name);
    const auto missed = [&](const at::Tensor& x) {
      const at::Tensor made = calibrated_blocks(type, matrix, InputFactor(x));
      return squares(values_of(type, made, 256) - matrix);
    };
    EXPECT_LT(missed(dwarfing), 4 * missed(inputs));
  }
}

TEST(CalibratedBlocks, ValuesOnAGridStayThere) {
  at::Tensor matrix = at::empty({8, 256}, at::kFloat);
  float* at = matrix.mutable_data_ptr<float>();
  for (int64_t i = 0; i < matrix.numel(); ++i) at[i] = 0.25F * static_cast<float>(i * 7 % 16) - 2;
  const at::Tensor inputs = at::mm(normal({500, 40}, 8), normal({40, 256}, 9));
  for (const GgmlType type : kTypes) {
    if (type == GgmlType::kQ8_0) continue;  // its 255 codes reach ±1.75 in other steps
    SCOPED_TRACE(ggml_format(type).name);
    const at::Tensor made = calibrated_blocks(type, matrix, InputFactor(inputs));
    EXPECT_LT((values_of(type, made, 256) - matrix).abs().max().item<double>(), 3e-3);
  }
}

TEST(CalibratedBlocks, InputsThatWereNeverSeenAndFewRowsDoNoHarm) {
  const at::Tensor matrix = normal({16, 288}, 10);
  at::Tensor inputs = normal({7, 288}, 11);
  inputs.narrow(1, 0, 100).zero_();
  for (const at::Tensor& x : {inputs, at::zeros_like(inputs)}) {
    const at::Tensor made = calibrated_blocks(GgmlType::kQ4_1, matrix, InputFactor(x));
    const double missed = squares(values_of(GgmlType::kQ4_1, made, 288) - matrix);
    EXPECT_LT(missed, 3 * squares(nearest(GgmlType::kQ4_1, matrix) - matrix));
  }
}

TEST(CalibratedBlocks, WhatCannotBeCalibratedIsRefused) {
  const at::Tensor matrix = normal({4, 64}, 12), inputs = normal({100, 64}, 13);
  const InputFactor factor(inputs);
  const auto refused = [&](GgmlType type, const at::Tensor& x, const std::string& why) {
    test::expect_error([&] { calibrated_blocks(type, x, factor); }, {why});
  };
  refused(GgmlType::kQ6_K, matrix, "blocks of Q6_K cannot be calibrated");
  refused(GgmlType::kF16, matrix, "blocks of F16 cannot be calibrated");
  refused(GgmlType::kQ4_K, matrix, "whole blocks of Q4_K");
  refused(GgmlType::kQ4_1, normal({4, 32}, 14), "a matrix of 32 inputs cannot go by 64");
  refused(GgmlType::kQ4_1, at::full({4, 64}, 1e6F), "cannot be stored as Q4_1");
  refused(GgmlType::kQ4_1, at::full({4, 64}, NAN), "cannot be stored as Q4_1");
  test::expect_error([&] { InputFactor(at::full({4, 64}, INFINITY)); }, {"not finite"});
}

}  // namespace
}  // namespace continuo
