#include "io/safetensors.h"

#include <cstring>
#include <filesystem>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "io/error_text.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::contains;
using test::error_text;
using test::TempDir;

const at::ScalarType kAllDtypes[] = {
    at::kDouble,      at::kFloat,  at::kHalf,   at::kBFloat16, at::kFloat8_e4m3fn,
    at::kFloat8_e5m2, at::kLong,   at::kInt,    at::kShort,    at::kChar,
    at::kUInt64,      at::kUInt32, at::kUInt16, at::kByte,     at::kBool};

// Equal dtype, shape and bytes; at::equal does not know every dtype.
bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) return false;
  const at::Tensor x = a.contiguous(), y = b.contiguous();
  return x.nbytes() == 0 || std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

at::Tensor counting(at::ScalarType dtype) {
  return at::arange(6, at::kFloat).reshape({2, 3}).to(dtype);
}

// A file with any header text and data.
std::string raw_file(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

TEST(Safetensors, RoundTripOfEveryDtype) {
  TempDir dir;
  NamedTensors tensors;
  for (at::ScalarType dtype : kAllDtypes)
    tensors.emplace_back(c10::toString(dtype), counting(dtype));
  tensors.emplace_back("scalar", at::tensor(2.5));
  tensors.emplace_back("empty", at::empty({0, 4}));
  tensors.emplace_back("no dims left", at::empty({3, 0, 2}, at::kLong));
  write_safetensors(dir / "x.safetensors", tensors, {{"format", "pt"}});

  const SafetensorsFile file(dir / "x.safetensors");
  EXPECT_EQ(file.path(), dir / "x.safetensors");
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors)
    EXPECT_TRUE(same_bytes(file.tensor(name), tensor)) << name;
}

TEST(Safetensors, NoTensorsAtAll) {
  TempDir dir;
  write_safetensors(dir / "x.safetensors", {});
  EXPECT_TRUE(SafetensorsFile(dir / "x.safetensors").tensors().empty());
}

TEST(Safetensors, WritesViewsOfAnyStride) {
  TempDir dir;
  const at::Tensor base = at::arange(24, at::kFloat).reshape({4, 6}).requires_grad_();
  const NamedTensors views = {{"transposed", base.t()},
                              {"step", base.slice(1, 0, 6, 2)},
                              {"row", base.select(0, 2)},
                              {"expanded", at::ones({1}).expand({5})}};
  write_safetensors(dir / "x.safetensors", views);
  const SafetensorsFile file(dir / "x.safetensors");
  for (const auto& [name, tensor] : views)
    EXPECT_TRUE(at::equal(file.tensor(name), tensor)) << name;
}

TEST(Safetensors, ExactBytes) {
  TempDir dir;
  write_safetensors(dir / "x.safetensors",
                    {{"b", at::tensor({1, 2}, at::kByte)}, {"a", at::tensor({1.0F})}},
                    {{"k", "v"}});
  // Wider dtypes come first.
  std::string header =
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
      R"("b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(test::read_file(dir / "x.safetensors"),
            raw_file(header, std::string("\x00\x00\x80\x3f\x01\x02", 6)));
}

TEST(Safetensors, TensorsOutliveTheFileObjectAndTheName) {
  TempDir dir;
  write_safetensors(dir / "x.safetensors", {{"a", at::arange(4, at::kFloat)}});
  at::Tensor tensor;
  {
    const SafetensorsFile file(dir / "x.safetensors");
    tensor = file.tensor("a");
  }
  std::filesystem::remove(dir / "x.safetensors");
  EXPECT_TRUE(at::equal(tensor, at::arange(4, at::kFloat)));
}

TEST(Safetensors, SharesTheMappingAndKeepsWritesPrivate) {
  TempDir dir;
  write_safetensors(dir / "x.safetensors", {{"a", at::zeros({4})}});
  const std::string before = test::read_file(dir / "x.safetensors");
  const SafetensorsFile file(dir / "x.safetensors");
  file.tensor("a").fill_(3);
  EXPECT_TRUE(at::equal(file.tensor("a"), at::full({4}, 3.0)));  // no copy was made
  EXPECT_EQ(test::read_file(dir / "x.safetensors"), before);
}

TEST(Safetensors, UnalignedDataIsCopied) {
  TempDir dir;
  // An odd header length and a byte before the floats.
  const std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                             R"("b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  const float values[] = {1.5F, -2.0F};
  const auto path = dir.write(
      "x.safetensors",
      raw_file(header, std::string(1, char{7}).append(reinterpret_cast<const char*>(values), 8)));
  EXPECT_TRUE(at::equal(SafetensorsFile(path).tensor("b"), at::tensor({1.5F, -2.0F})));
}

TEST(Safetensors, StoredTensorsComeAFewRowsAtATimeAndMoreThanOnce) {
  TempDir dir;
  const at::Tensor many = at::randn({1000, 300}), one = at::tensor(2.5F);  // of 293 pages, of none
  write_safetensors(dir / "x.safetensors", {{"many", many}, {"one", one}});
  const auto stored = [&](const char* name) {
    return SafetensorsFile(dir / "x.safetensors").stored(name);
  };
  EXPECT_TRUE(at::equal(stored("one").whole(), one));
  const StoredTensor tensor = stored("many");
  EXPECT_EQ(tensor.shape, (std::vector<int64_t>{1000, 300}));
  for (const int64_t step : {37, 1000}) {
    for (int64_t begin = 0; begin < 1000; begin += step) {
      const int64_t end = std::min<int64_t>(begin + step, 1000);
      EXPECT_TRUE(at::equal(tensor.rows(begin, end), many.narrow(0, begin, end - begin)));
    }
  }
  EXPECT_TRUE(at::equal(tensor.whole(), many));
}

TEST(Safetensors, ReadsAFileOfTheReferenceImplementation) {
  const SafetensorsFile file(std::filesystem::path(CONTINUO_SOURCE_DIR) /
                             "tests/golden/reference.safetensors");
  EXPECT_EQ(file.metadata().at("made by"), "Python");
  EXPECT_EQ(file.tensors().size(), 18u);
  const std::pair<const char*, at::ScalarType> named[] = {{"f64", at::kDouble},
                                                          {"f32", at::kFloat},
                                                          {"f16", at::kHalf},
                                                          {"bf16", at::kBFloat16},
                                                          {"i64", at::kLong},
                                                          {"i32", at::kInt},
                                                          {"i16", at::kShort},
                                                          {"i8", at::kChar},
                                                          {"u64", at::kUInt64},
                                                          {"u32", at::kUInt32},
                                                          {"u16", at::kUInt16},
                                                          {"u8", at::kByte},
                                                          {"f8_e4m3", at::kFloat8_e4m3fn},
                                                          {"f8_e5m2", at::kFloat8_e5m2}};
  for (const auto& [name, dtype] : named) {
    EXPECT_TRUE(same_bytes(file.tensor(name), counting(dtype))) << name;
  }
  EXPECT_TRUE(at::equal(file.tensor("bool"), at::tensor({1, 0, 1}, at::kByte).to(at::kBool)));
  EXPECT_EQ(file.tensor("scalar").item<float>(), 2.5F);
  EXPECT_EQ(file.tensor("scalar").dim(), 0);
  EXPECT_EQ(file.tensor("empty").sizes(), (at::IntArrayRef{0, 4}));
  EXPECT_EQ(file.tensor("naïve \"name\"").item<int>(), 7);
}

TEST(Safetensors, BoolBytesOtherThanZeroAndOneAreRefused) {
  TempDir dir;
  const auto path =
      dir.write("x.safetensors",
                raw_file(R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})", "\x01\x02"));
  EXPECT_TRUE(contains(error_text([&] { SafetensorsFile(path).tensor("a"); }), "'a' is BOOL but"));
}

TEST(Safetensors, ReadingErrorsNameTheFile) {
  TempDir dir;
  auto fault = [](const std::filesystem::path& path) {
    return error_text([&] { SafetensorsFile f(path); });
  };
  EXPECT_TRUE(contains(fault(dir / "none.safetensors"), "none.safetensors"));
  EXPECT_TRUE(contains(fault(dir.path()), dir.path().string()));
  EXPECT_TRUE(contains(fault(dir.write("empty", "")), "truncated"));
  EXPECT_TRUE(contains(fault(dir.write("short", "1234567")), "truncated"));
  EXPECT_TRUE(contains(fault(dir.write("big", std::string(16, '\xff'))), "at most 100000000"));
  EXPECT_TRUE(contains(fault(dir.write("cut", raw_file("{}", "").substr(0, 9))), "truncated"));
  EXPECT_TRUE(contains(fault(dir.write("lfs", "version https://git-lfs.github.com/spec/v1\n")),
                       "git lfs pull"));

  write_safetensors(dir / "x.safetensors", {{"a", at::zeros({1})}});
  const SafetensorsFile file(dir / "x.safetensors");
  EXPECT_TRUE(contains(error_text([&] { file.tensor("b"); }), "no tensor named 'b'"));
}

TEST(Safetensors, WritingErrors) {
  TempDir dir;
  auto fault = [](const std::filesystem::path& path, const NamedTensors& tensors) {
    return error_text([&] { write_safetensors(path, tensors); });
  };
  const at::Tensor a = at::zeros({4});
  EXPECT_TRUE(contains(fault(dir / "x", {{"a", a}, {"a", a}}), "'a' twice"));
  EXPECT_TRUE(contains(fault(dir / "x", {{"__metadata__", a}}), "'__metadata__'"));
  EXPECT_TRUE(contains(fault(dir / "x", {{"a", at::Tensor()}}), "'a' is not defined"));
  EXPECT_TRUE(
      contains(fault(dir / "x", {{"a", at::zeros({1}, at::kComplexFloat)}}), "ComplexFloat"));
  EXPECT_TRUE(contains(fault(dir / "x", {{"\xff", a}}), "UTF-8"));
  EXPECT_FALSE(std::filesystem::exists(dir / "x"));
  EXPECT_TRUE(contains(fault(dir / "no/x", {{"a", a}}), "cannot create"));
  if (std::filesystem::exists("/dev/full")) {
    EXPECT_TRUE(contains(fault("/dev/full", {{"a", a}}), "cannot write /dev/full: No space left"));
  }
}

}  // namespace
}  // namespace continuo
