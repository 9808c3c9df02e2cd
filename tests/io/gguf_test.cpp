#include "io/gguf.h"

#include <filesystem>
#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "io/error_text.h"
#include "io/gguf_writer.h"
#include "io/safetensors.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::contains;
using test::error_text;
using test::TempDir;

const std::filesystem::path kGolden =
    std::filesystem::path(CONTINUO_SOURCE_DIR) / "tests/golden/gguf";

bool same_floats(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == at::kFloat && a.sizes() == b.sizes() && at::equal(a, b);
}

TEST(Gguf, DecodesEveryFormatAsThePythonPackageDoes) {
  const GgufFile file(kGolden / "types.gguf");
  const SafetensorsFile expected(kGolden / "types.safetensors");
  EXPECT_EQ(file.tensors().size(), expected.tensors().size());
  EXPECT_EQ(file.tensors().size(), 19U);
  for (const auto& [name, info] : file.tensors()) {
    EXPECT_EQ(ggml_format(info.type).name, name);
    EXPECT_TRUE(same_floats(file.dequantise(name), expected.tensor(name))) << name;
  }
}

TEST(Gguf, PlainTypesAreViewsAndQuantisedOnesBlocks) {
  const GgufFile file(kGolden / "types.gguf");
  const std::pair<const char*, at::ScalarType> plain[] = {
      {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16}, {"F64", at::kDouble},
      {"I8", at::kChar},   {"I16", at::kShort}, {"I32", at::kInt},       {"I64", at::kLong}};
  for (const auto& [name, dtype] : plain) {
    const at::Tensor tensor = file.tensor(name);
    EXPECT_EQ(tensor.scalar_type(), dtype);
    EXPECT_TRUE(same_floats(tensor.to(at::kFloat), file.dequantise(name))) << name;
    EXPECT_EQ(tensor.const_data_ptr(), file.tensor(name).const_data_ptr()) << name;
  }
  EXPECT_EQ(file.blocks("Q4_K").sizes(), (at::IntArrayRef{2, 288}));
  EXPECT_EQ(file.blocks("F32").sizes(), (at::IntArrayRef{3, 20}));
  EXPECT_TRUE(contains(error_text([&] { file.tensor("Q4_K"); }), "'Q4_K' is quantised (Q4_K)"));
  EXPECT_TRUE(contains(error_text([&] { file.tensor("none"); }), "no tensor named 'none'"));
}

TEST(Gguf, TensorsOutliveTheFile) {
  at::Tensor tensor;
  {
    const GgufFile file(kGolden / "types.gguf");
    tensor = file.tensor("I32");
  }
  tensor.add_(1);  // private to the process
  EXPECT_EQ(tensor[0][0][0].item<int>(), -5);
  EXPECT_EQ(GgufFile(kGolden / "types.gguf").tensor("I32")[0][0][0].item<int>(), -6);
}

TEST(Gguf, ReadsMetadataOfEveryType) {
  const GgufFile file(kGolden / "writer.gguf");
  EXPECT_EQ(file.metadata().size(), 19U);
  EXPECT_EQ(file.text("general.architecture"), "test");
  EXPECT_EQ(file.integer("a.u8"), 200);
  EXPECT_EQ(file.integer("a.i8"), -100);
  EXPECT_EQ(file.integer("a.u16"), 60000);
  EXPECT_EQ(file.integer("a.i16"), -30000);
  EXPECT_EQ(file.integer("a.u32"), 4000000000);
  EXPECT_EQ(file.integer("a.i32"), -2000000000);
  EXPECT_EQ(file.integer("a.i64"), -(int64_t{1} << 60));
  EXPECT_EQ(file.number("a.f32"), double{0.1F});
  EXPECT_EQ(file.number("a.f64"), 0.1);
  EXPECT_EQ(file.number("a.u8"), 200.0);
  EXPECT_EQ(file.flag("a.bool"), true);
  EXPECT_EQ(file.text("a.string"), "naïve \"text\"\n");
  EXPECT_EQ(*file.array<std::string>("l.strings"), (std::vector<std::string>{"a", "", "ß"}));
  EXPECT_EQ(*file.array<bool>("l.bools"), (std::vector<bool>{true, false}));
  EXPECT_EQ(*file.array<float>("l.f32"), (std::vector<float>{0.5F, -2.0F}));
  EXPECT_EQ(*file.array<int32_t>("l.i32"), (std::vector<int32_t>{1, -2, 3}));
  EXPECT_EQ(*file.array<uint8_t>("l.u8"), (std::vector<uint8_t>{1, 2, 255}));

  EXPECT_FALSE(file.integer("none") || file.number("none") || file.flag("none") ||
               file.text("none") || file.array<float>("none"));
  EXPECT_TRUE(contains(error_text([&] { (void)file.integer("a.u64"); }), "too large"));
  EXPECT_TRUE(contains(error_text([&] { (void)file.integer("a.f32"); }),
                       "writer.gguf: 'a.f32' is of type f32, expected an integer"));
  EXPECT_TRUE(contains(error_text([&] { (void)file.flag("a.u8"); }), "is of type u8"));
  EXPECT_TRUE(contains(error_text([&] { (void)file.text("l.i32"); }), "is of type array of i32"));
  EXPECT_TRUE(contains(error_text([&] { (void)file.array<float>("l.i32"); }),
                       "is of type array of i32, expected array of f32"));
}

GgufMetadata golden_metadata() {
  return {{"general.architecture", std::string("test")},
          {"a.u8", uint8_t{200}},
          {"a.i8", int8_t{-100}},
          {"a.u16", uint16_t{60000}},
          {"a.i16", int16_t{-30000}},
          {"a.u32", uint32_t{4000000000}},
          {"a.i32", int32_t{-2000000000}},
          {"a.f32", 0.1F},
          {"a.bool", true},
          {"a.string", std::string("naïve \"text\"\n")},
          {"a.u64", (uint64_t{1} << 63) + 5},
          {"a.i64", -(int64_t{1} << 60)},
          {"a.f64", 0.1},
          {"l.strings", GgufArray(std::vector<std::string>{"a", "", "ß"})},
          {"l.bools", GgufArray(std::vector<bool>{true, false})},
          {"l.f32", GgufArray(std::vector<float>{0.5F, -2.0F})},
          {"l.i32", GgufArray(std::vector<int32_t>{1, -2, 3})},
          {"l.u8", GgufArray(std::vector<uint8_t>{1, 2, 255})},
          {"l.u64", GgufArray(std::vector<uint64_t>{std::numeric_limits<uint64_t>::max()})}};
}

TEST(GgufWriter, WritesTheBytesOfThePythonPackage) {
  TempDir dir;
  const SafetensorsFile source(kGolden / "writer.safetensors");
  const at::Tensor few = source.tensor("few"), values = source.tensor("values");
  write_gguf(dir / "x.gguf", golden_metadata(),
             {{"few.f32", few, GgmlType::kF32},
              {"few.f16", few.to(at::kDouble).t().contiguous().t(), GgmlType::kF16},
              {"few.bf16", few, GgmlType::kBF16},
              {"values.Q8_0", values, GgmlType::kQ8_0},
              {"values.Q4_0", values, GgmlType::kQ4_0},
              {"values.BF16", values, GgmlType::kBF16},
              {"values.F16", values, GgmlType::kF16},
              {"vector", source.tensor("vector"), GgmlType::kI32}});
  EXPECT_EQ(test::read_file(dir / "x.gguf"), test::read_file(kGolden / "writer.gguf"));
}

TEST(GgufWriter, RoundTrip) {
  TempDir dir;
  const at::Tensor half = at::arange(12, at::kHalf).reshape({3, 4}).t();
  const at::Tensor wide = at::linspace(-1, 1, 3 * 512).reshape({3, 512});
  write_gguf(dir / "x.gguf", golden_metadata(),
             {{"half", half, GgmlType::kF16},
              {"scalar", at::scalar_tensor(2.5F, at::kFloat), GgmlType::kF32},
              {"empty", at::empty({0, 256}), GgmlType::kQ4_K},
              {"wide", wide.to(at::kBFloat16), GgmlType::kQ4_K},
              {"long", at::arange(3), GgmlType::kI64},
              {"last", at::ones({5}), GgmlType::kF32}});
  const GgufFile file(dir / "x.gguf");
  EXPECT_EQ(file.metadata(), golden_metadata());
  EXPECT_TRUE(at::equal(file.tensor("half"), half));
  EXPECT_EQ(file.tensor("scalar").dim(), 0);
  EXPECT_EQ(file.tensor("scalar").item<float>(), 2.5F);
  EXPECT_EQ(file.dequantise("empty").sizes(), (at::IntArrayRef{0, 256}));
  EXPECT_EQ(file.blocks("empty").sizes(), (at::IntArrayRef{0, 144}));
  EXPECT_LT((file.dequantise("wide") - wide).abs().max().item<float>(), 0.03);
  EXPECT_TRUE(at::equal(file.tensor("long"), at::arange(3)));
  EXPECT_TRUE(at::equal(file.tensor("last"), at::ones({5})));

  write_gguf(dir / "none.gguf", {}, {});
  EXPECT_TRUE(GgufFile(dir / "none.gguf").tensors().empty());
}

TEST(GgufWriter, Errors) {
  TempDir dir;
  const at::Tensor a = at::ones({2, 32});
  const auto fault = [&](const GgufMetadata& metadata, const std::vector<GgufTensor>& tensors) {
    return error_text([&] { write_gguf(dir / "x.gguf", metadata, tensors); });
  };
  EXPECT_TRUE(contains(fault({}, {{"a", a}, {"a", a}}), "tensor 'a' twice"));
  EXPECT_TRUE(contains(fault({{"k", true}, {"k", true}}, {}), "key 'k' twice"));
  EXPECT_TRUE(contains(fault({}, {{"", a}}), "without a name"));
  EXPECT_TRUE(contains(fault({}, {{std::string(64, 'x'), a}}), "longer than 63 bytes"));
  EXPECT_TRUE(contains(fault({}, {{"\xff", a}}), "UTF-8"));
  EXPECT_TRUE(contains(fault({}, {{"a", at::Tensor()}}), "'a' is not defined"));
  EXPECT_TRUE(contains(fault({}, {{"a", a, GgmlType::kQ4_K}}), "needs a multiple of 256"));
  EXPECT_TRUE(contains(fault({}, {{"a", a, GgmlType::kQ6_K}}), "cannot be written as Q6_K"));
  EXPECT_TRUE(contains(fault({}, {{"a", a, GgmlType::kI32}}), "Float cannot be written as I32"));
  EXPECT_TRUE(contains(fault({}, {{"a", at::ones({1, 1, 1, 1, 1})}}), "at most 4"));
  EXPECT_TRUE(contains(fault({{"general.alignment", uint32_t{64}}}, {}), "must be 32"));
  EXPECT_FALSE(std::filesystem::exists(dir / "x.gguf"));
  EXPECT_TRUE(contains(fault({}, {{"a", a / 0, GgmlType::kQ8_0}}), "tensor 'a': the value inf"));
  EXPECT_TRUE(contains(error_text([&] { write_gguf(dir / "no/x", {}, {}); }), "cannot create"));
  if (std::filesystem::exists("/dev/full")) {
    EXPECT_TRUE(contains(error_text([&] { write_gguf("/dev/full", {}, {{"a", a}}); }),
                         "cannot write /dev/full: No space left"));
  }
}

}  // namespace
}  // namespace continuo
