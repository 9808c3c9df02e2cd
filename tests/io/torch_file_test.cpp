#include "io/torch_file.h"

#include <cstring>
#include <filesystem>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "io/error_text.h"
#include "io/safetensors.h"
#include "io/zip_builder.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using namespace std::string_literals;
using test::contains;
using test::error_text;
using test::TempDir;
using test::ZipBuilder;

const std::filesystem::path kTorchFiles =
    std::filesystem::path(CONTINUO_SOURCE_DIR) / "tests/golden/torch";

bool equal_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && a.is_contiguous() &&
         (a.nbytes() == 0 || std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0);
}

void expect_equal(const char* saved, const char* expected_name) {
  const TorchFile file(kTorchFiles / saved);
  const SafetensorsFile expected(kTorchFiles / expected_name);
  EXPECT_EQ(file.tensors().size(), expected.tensors().size());
  for (const auto& entry : expected.tensors()) {
    ASSERT_TRUE(file.tensors().contains(entry.first)) << entry.first;
    EXPECT_TRUE(equal_bytes(file.tensor(entry.first), expected.tensor(entry.first))) << entry.first;
  }
}

TEST(TorchFile, ReadsEveryKindOfTensor) { expect_equal("state.bin", "state.safetensors"); }

TEST(TorchFile, FindsTheStateDictionaryOfACheckpoint) {
  expect_equal("nested.bin", "nested.safetensors");
}

TEST(TorchFile, ReadsEveryProtocol) {
  for (int protocol = 2; protocol <= 5; ++protocol) {
    const TorchFile file(kTorchFiles / fmt::format("protocol{}.bin", protocol));
    ASSERT_EQ(file.tensors().size(), 1U);
    EXPECT_TRUE(at::equal(file.tensor("weight"), at::tensor({1.0F, 2.0F})));
  }
}

TEST(TorchFile, SharedStoragesShareMemoryAndOutliveTheFile) {
  at::Tensor first, tied, rows;
  {
    const TorchFile file(kTorchFiles / "state.bin");
    first = file.tensor("f32");
    tied = file.tensor("tied");
    rows = file.tensor("rows");
    EXPECT_EQ(rows.const_data_ptr<float>(), file.tensor("whole").const_data_ptr<float>() + 6);
  }
  EXPECT_EQ(first.const_data_ptr(), tied.const_data_ptr());
  first.add_(1);  // private to the process
  EXPECT_EQ(tied[0][0].item<float>(), 1.0F);
  EXPECT_EQ(TorchFile(kTorchFiles / "state.bin").tensor("f32")[0][0].item<float>(), 0.0F);
}

TEST(TorchFile, StoredTensorsComeByRows) {
  const TorchFile file(kTorchFiles / "state.bin");
  for (const auto& [name, info] : file.tensors()) {
    const StoredTensor stored = file.stored(name);
    const at::Tensor whole = file.tensor(name);
    EXPECT_EQ(stored.shape, info.shape) << name;
    EXPECT_TRUE(at::equal(stored.whole(), whole)) << name;
    for (int64_t r = 0; !info.shape.empty() && r < info.shape[0]; ++r)
      EXPECT_TRUE(at::equal(stored.rows(r, r + 1), whole.narrow(0, r, 1))) << name;
  }
}

TEST(TorchFile, OtherFiles) {
  TempDir dir;
  const auto fault = [](const std::filesystem::path& path) {
    return error_text([&] { TorchFile f(path); });
  };
  EXPECT_TRUE(
      contains(fault(kTorchFiles / "hostile.bin"), "hostile.bin: posix.system is not allowed"));
  EXPECT_TRUE(contains(fault(kTorchFiles / "old.bin"), "before 1.6"));
  EXPECT_TRUE(contains(fault(kTorchFiles / "old.bin"), "torch.load"));
  EXPECT_TRUE(contains(fault(kTorchFiles / "script.pt"), "is a TorchScript program"));
  EXPECT_TRUE(contains(fault(dir / "none.bin"), "none.bin"));
  EXPECT_TRUE(contains(fault(dir.write("empty", "")), "not a file of torch.save"));
  EXPECT_TRUE(
      contains(fault(dir.write("lfs", "version https://git-lfs.github.com")), "git lfs pull"));
  EXPECT_TRUE(contains(fault(dir.write("zip", ZipBuilder().add({"a", "x"}).finish())),
                       "not one of torch.save"));
  EXPECT_TRUE(contains(error_text([] { TorchFile(kTorchFiles / "state.bin").tensor("none"); }),
                       "no tensor named 'none'"));
}

// A pickle of {"t": tensor}; the storage "0" counts `elements`.
std::string pickle(const std::string& storage_class, int elements, const std::string& offset,
                   const std::string& size, const std::string& stride) {
  return "\x80\x02}U\x01tctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\n"s +
         storage_class +
         "\nU\x01"
         "0U\x03"
         "cpuK" +
         static_cast<char>(elements) + "tQ" + offset + size + stride +
         "\x89"
         "Nt"
         "Rs.";
}

class HandMade : public ::testing::Test {
 protected:
  std::string fault(const std::string& content, const std::string& data = std::string(16, '\1'),
                    const std::string& order = "little") {
    return error_text([&] { read(content, data, order); });
  }
  at::Tensor read(const std::string& content, const std::string& data = std::string(16, '\1'),
                  const std::string& order = "little") {
    const std::string archive = ZipBuilder()
                                    .add({"m/data.pkl", content})
                                    .add({"m/byteorder", order})
                                    .add({"m/data/0", data})
                                    .finish();
    return TorchFile(dir_.write("x.bin", archive)).tensor("t");
  }

  TempDir dir_;
};

TEST_F(HandMade, UnalignedStoragesAreCopied) {
  for (int shift = 0; shift < 4; ++shift) {
    const std::string archive =
        ZipBuilder()
            .add({"m/data.pkl", pickle("ShortStorage", 8, "K\1", "K\2K\2\x86", "K\1K\2\x86")})
            .add({std::string(static_cast<size_t>(shift) + 1, 'x'), ""})
            .add({"m/data/0", "\1\0\2\0\3\0\4\0\5\0\6\0\7\0\x08\0"s})
            .finish();
    const at::Tensor tensor = TorchFile(dir_.write("x.bin", archive)).tensor("t");
    EXPECT_TRUE(at::equal(tensor, at::tensor({2, 4, 3, 5}, at::kShort).reshape({2, 2})));
  }
}

TEST_F(HandMade, RangesAreChecked) {
  const std::string one = "K\1\x85", four = "K\4\x85";
  EXPECT_EQ(read(pickle("FloatStorage", 4, "K\0"s, four, one)).numel(), 4);
  EXPECT_TRUE(contains(fault(pickle("FloatStorage", 4, "K\1", four, one)),
                       "tensor 't': it ends at byte 20 of a storage of 16 bytes"));
  EXPECT_TRUE(
      contains(fault(pickle("FloatStorage", 4, "K\0"s, "K\2\x85", "K\4\x85")), "ends at byte 20"));
  EXPECT_TRUE(contains(fault(pickle("FloatStorage", 5, "K\0"s, four, one)),
                       "needs a storage of 20 bytes, '0' has 16"));
  EXPECT_TRUE(contains(fault(pickle("FloatStorage", 4, "J\xff\xff\xff\xff", four, one)),
                       "its storage offset is not a number"));
  EXPECT_TRUE(
      contains(fault(pickle("FloatStorage", 4, "K\0"s, "N", one)), "its size is not a tuple"));
  EXPECT_TRUE(
      contains(fault(pickle("FloatStorage", 4, "K\0"s, four, ")")), "have 1 and 0 elements"));
  EXPECT_TRUE(contains(fault(pickle("FloatStorage", 4, "K\0"s, "U\1x\x85", one)),
                       "its size is not a number"));
  const std::string huge = "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
  EXPECT_TRUE(contains(fault(pickle("FloatStorage", 4, "K\0"s, huge + "\x85", one)), "overflows"));
  EXPECT_TRUE(contains(fault(pickle("FloatStorage", 4, huge, four, one)), "overflows"));
  EXPECT_TRUE(contains(fault(pickle("FloatStorage", 4, "K\0"s, four, huge + "\x85")), "overflows"));
  // 2⁴⁰ repetitions of one element.
  EXPECT_TRUE(
      contains(fault(pickle("FloatStorage", 4, "K\0"s, "\x8a\6\0\0\0\0\0\1\x85"s, "K\0\x85"s)),
               "beyond reason"));
  EXPECT_EQ(read(pickle("FloatStorage", 4, "K\0"s, "K\x64\x85", "K\0\x85"s)).numel(), 100);
}

TEST_F(HandMade, WhatCannotBeRead) {
  const std::string one = "K\1\x85";
  EXPECT_TRUE(contains(fault(pickle("QInt8Storage", 4, "K\0"s, one, one)),
                       "torch.QInt8Storage is not allowed"));
  EXPECT_TRUE(contains(fault(pickle("Size", 4, "K\0"s, one, one)), "torch.Size is not a storage"));
  EXPECT_TRUE(
      contains(fault(pickle("FloatStorage", 1, "K\0"s, one, one), "1234", "big"), "big-endian"));
  const std::string two = "K\2\x85";
  EXPECT_TRUE(
      contains(fault(pickle("BoolStorage", 2, "K\0"s, two, one), "\1\2"), "'t' is bool but"));
  EXPECT_TRUE(contains(fault("\x80\x02}U\x05model}U\1aK\1ss."),
                       "no dictionary of tensors (found the keys: model)"));
  EXPECT_TRUE(contains(fault("\x80\x02N."), "found the keys: none"));
  // A dictionary that is its own model.
  EXPECT_TRUE(contains(fault("\x80\x02}q\1U\x05modelh\1s."), "no dictionary of tensors"));
}

}  // namespace
}  // namespace continuo
