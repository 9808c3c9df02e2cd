#include "io/safetensors_patch.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

const std::vector<TensorOutline> kOutlines = {
    {"a", at::kFloat, {3, 4}}, {"n", at::kLong, {1}}, {"b", at::kFloat, {5}}};

TEST(SafetensorsPatch, PiecesMakeTheFileThatIsWrittenAtOnce) {
  const test::TempDir dir;
  const at::Tensor a = at::arange(12, at::kFloat).view({3, 4}), b = at::arange(5, at::kFloat),
                   n = at::full({1}, 7, at::kLong);
  create_safetensors(dir / "pieces", kOutlines, {{"format", "pt"}});
  // Two writers, neither of which has all.
  SafetensorsPatch first(dir / "pieces"), second(dir / "pieces");
  first.write("a", 0, a.view({-1}).narrow(0, 0, 5));
  second.write("a", 5, a.view({-1}).narrow(0, 5, 7));
  second.write("b", 0, b);
  first.write("n", 0, n);
  first.close();
  second.close();
  write_safetensors(dir / "whole", {{"a", a}, {"n", n}, {"b", b}}, {{"format", "pt"}});
  EXPECT_EQ(test::read_file(dir / "pieces"), test::read_file(dir / "whole"));
}

TEST(SafetensorsPatch, WhatNobodyWroteIsZero) {
  const test::TempDir dir;
  create_safetensors(dir / "file", kOutlines);
  EXPECT_TRUE(SafetensorsFile(dir / "file").tensor("a").eq(0).all().item<bool>());
}

TEST(SafetensorsPatch, RefusesWhatDoesNotFit) {
  const test::TempDir dir;
  test::expect_error([&] { SafetensorsPatch(dir / "none"); }, {"none"});
  create_safetensors(dir / "file", kOutlines);
  SafetensorsPatch patch(dir / "file");
  const at::Tensor two = at::ones({2});
  test::expect_error([&] { patch.write("c", 0, two); }, {"no tensor named 'c'"});
  test::expect_error([&] { patch.write("b", 4, two); }, {"elements 4 to 6", "'b'"});
  test::expect_error([&] { patch.write("b", -1, two); }, {"'b'"});
  test::expect_error([&] { patch.write("b", 0, two.to(at::kDouble)); }, {"'b'"});
}

}  // namespace
}  // namespace continuo
