#include "io/gguf_header.h"

#include <string>

#include <gtest/gtest.h>

#include "io/error_text.h"

namespace continuo {
namespace {

using test::contains;
using test::error_text;

// A GGUF file put together field by field.
struct Bytes {
  std::string text;

  template <class T>
  Bytes& add(T value) {
    text.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& string(const std::string& value) {
    add(uint64_t{value.size()});
    text += value;
    return *this;
  }
  Bytes& start(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    text += "GGUF";
    return add(version).add(tensors).add(keys);
  }
  Bytes& tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type,
                uint64_t offset) {
    string(name).add(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) add(dim);
    return add(type).add(offset);
  }
  Bytes& data(size_t bytes, size_t alignment = 32) {
    text.resize((text.size() + alignment - 1) / alignment * alignment + bytes);
    return *this;
  }
  GgufHeader parse() const {
    return parse_gguf_header(std::as_bytes(std::span(text.data(), text.size())), "x.gguf");
  }
  std::string fault() const {
    return error_text([&] { parse(); });
  }
};

constexpr uint32_t kF32 = 0, kQ8 = 8;

TEST(GgufHeader, ShapesAreInTorchsOrder) {
  const GgufHeader header = Bytes()
                                .start(2, 0, 2)
                                .tensor("a", {32, 3}, kQ8, 0)
                                .tensor("b", {}, kF32, 128)
                                .data(132)
                                .parse();
  EXPECT_EQ(header.version, 2U);
  EXPECT_EQ(header.tensors.at("a").shape, (std::vector<int64_t>{3, 32}));
  EXPECT_EQ(header.tensors.at("a").end, 102);
  EXPECT_EQ(header.tensors.at("b").shape, std::vector<int64_t>());
  EXPECT_EQ(header.tensors.at("b").end, 132);
  EXPECT_EQ(header.data_begin % 32, 0);
}

TEST(GgufHeader, AlignmentIsHonoured) {
  Bytes bytes;
  bytes.start(1, 1).string("general.alignment").add(uint32_t{4}).add(uint32_t{256});
  bytes.tensor("a", {1}, kF32, 256).data(260, 256);
  EXPECT_EQ(bytes.parse().data_begin, 256);
  for (const uint32_t alignment : {0U, 3U}) {
    Bytes bad;
    bad.start(0, 1).string("general.alignment").add(uint32_t{4}).add(alignment);
    EXPECT_TRUE(contains(bad.fault(), "not a power of two"));
  }
}

TEST(GgufHeader, Starts) {
  EXPECT_TRUE(contains(Bytes{""}.fault(), "not a GGUF file"));
  EXPECT_TRUE(contains(Bytes{"GGU"}.fault(), "not a GGUF file"));
  EXPECT_TRUE(contains(Bytes{"GGUF"}.fault(), "truncated"));
  EXPECT_TRUE(contains(Bytes{"version https://git-lfs"}.fault(), "git lfs pull"));
  EXPECT_TRUE(contains(Bytes().start(0, 0, 1).fault(), "version 1 is not supported"));
  EXPECT_TRUE(contains(Bytes().start(0, 0, 0x03000000).fault(), "big-endian"));
  EXPECT_TRUE(contains(Bytes().start(uint64_t(-1), 0).fault(), "tensors cannot fit"));
  EXPECT_TRUE(contains(Bytes().start(0, uint64_t(-1)).fault(), "keys cannot fit"));
}

TEST(GgufHeader, BadMetadata) {
  const auto entry = [](uint32_t type) {
    Bytes bytes;
    bytes.start(0, 1).string("key").add(type);
    return bytes;
  };
  EXPECT_TRUE(contains(entry(13).fault(), "the value of 'key' has the unknown type 13"));
  EXPECT_TRUE(contains(entry(4).add(uint8_t{1}).fault(), "the value of 'key' would take 4 bytes"));
  EXPECT_TRUE(contains(entry(7).add(uint8_t{2}).fault(), "a bool of value 2"));
  EXPECT_TRUE(contains(entry(8).add(uint64_t(-1)).fault(), "truncated"));
  const auto array = [&](uint32_t type, uint64_t count) {
    return entry(9).add(type).add(count).fault();
  };
  EXPECT_TRUE(contains(array(4, uint64_t(1) << 62), "has 4611686018427387904 elements"));
  EXPECT_TRUE(contains(array(8, uint64_t(-1)), "truncated"));
  EXPECT_TRUE(contains(array(9, 0), "array of arrays"));
  EXPECT_TRUE(contains(array(77, 0), "array of the unknown type 77"));
  Bytes twice;
  twice.start(0, 2).string("k").add(0).add('a').string("k").add(0).add('a');
  EXPECT_TRUE(contains(twice.fault(), "'k' comes twice"));
  Bytes long_key;
  long_key.start(0, 1).add(uint64_t(1) << 63);
  EXPECT_TRUE(contains(long_key.data(64).fault(), "a metadata key would take"));
  EXPECT_TRUE(contains(Bytes().start(0, 1).string("\xff").add(0).add(0).fault(), "UTF-8"));
}

TEST(GgufHeader, BadTensors) {
  const auto fault = [](const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    return Bytes().start(1, 0).tensor("a", dims, type, offset).data(64).fault();
  };
  EXPECT_TRUE(contains(fault({1, 1, 1, 1, 1}, kF32, 0), "5 dimensions"));
  EXPECT_TRUE(contains(fault({17}, kF32, 0), "ends at data byte 68"));
  EXPECT_TRUE(contains(fault({1}, kF32, 8), "not a multiple of 32"));
  EXPECT_TRUE(contains(fault({1}, kF32, uint64_t(-32)), "the offset"));
  EXPECT_TRUE(contains(fault({1}, kF32, uint64_t(1) << 62), "truncated"));
  EXPECT_TRUE(contains(fault({33}, kQ8, 0), "rows of 33 values, Q8_0 needs a multiple of 32"));
  EXPECT_TRUE(contains(fault({1}, 4, 0), "unknown type 4"));
  EXPECT_TRUE(contains(fault({uint64_t(1) << 63}, kF32, 0), "a dimension of"));
  EXPECT_TRUE(contains(fault({uint64_t(1) << 62, 8}, kF32, 0), "overflows"));
  EXPECT_TRUE(contains(fault({uint64_t(1) << 62, 0, uint64_t(1) << 62}, kF32, 0), "overflows"));
  EXPECT_TRUE(contains(
      Bytes().start(2, 0).tensor("a", {9}, kF32, 0).tensor("b", {1}, kF32, 32).data(64).fault(),
      "'a' and 'b' overlap"));
  EXPECT_TRUE(contains(
      Bytes().start(2, 0).tensor("a", {1}, kF32, 0).tensor("a", {1}, kF32, 32).data(64).fault(),
      "'a' comes twice"));
}

}  // namespace
}  // namespace continuo
