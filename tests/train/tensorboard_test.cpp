#include "train/tensorboard.h"

#include <bit>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::TempDir;

// A decoded protocol buffer message: field → raw values (varints and fixed numbers as 8
// little-endian bytes).
using Fields = std::multimap<int, std::string>;

uint64_t number(const std::string& bytes) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  return value;
}

uint64_t take_varint(std::string_view& data) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<uint8_t>(data.front());
    data.remove_prefix(1);
    value |= uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return value;
  }
}

Fields decode(std::string_view data) {
  Fields fields;
  while (!data.empty()) {
    const uint64_t tag = take_varint(data);
    std::string value;
    if ((tag & 7) == 0) {
      const uint64_t varint = take_varint(data);
      value.assign(reinterpret_cast<const char*>(&varint), 8);
    } else {
      const size_t size = (tag & 7) == 1 ? 8 : (tag & 7) == 5 ? 4 : take_varint(data);
      value = data.substr(0, size);
      data.remove_prefix(size);
    }
    fields.emplace(static_cast<int>(tag >> 3), value);
  }
  return fields;
}

std::vector<Fields> events(const std::filesystem::path& path) {
  const std::string file = test::read_file(path);
  std::string_view data = file;
  std::vector<Fields> all;
  while (!data.empty()) {
    const uint64_t length = number(std::string(data.substr(0, 8)));
    EXPECT_EQ(number(std::string(data.substr(8, 4))), masked_crc32c(data.substr(0, 8)));
    EXPECT_EQ(number(std::string(data.substr(12 + length, 4))),
              masked_crc32c(data.substr(12, length)));
    all.push_back(decode(data.substr(12, length)));
    data.remove_prefix(16 + length);
  }
  return all;
}

TEST(TensorBoard, Crc32cVectors) {
  // RFC 3720, B.4, and the usual check value.
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(crc32c(""), 0U);
  EXPECT_EQ(masked_crc32c(""), 0xa282ead8U);
}

TEST(TensorBoard, ScalarsAndTextParseBack) {
  TempDir dir;
  TensorBoardWriter writer(dir / "tb");
  writer.scalars(300, {{"train/loss", 2.5}, {"lr", 1e-4}});
  writer.text(301, "samples", "# a\nb");

  const auto all = events(writer.path());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].find(3)->second, "brain.Event:2");
  EXPECT_GT(std::bit_cast<double>(number(all[0].find(1)->second)), 1.6e9);  // wall time in seconds

  EXPECT_EQ(number(all[1].find(2)->second), 300u);
  const Fields summary = decode(all[1].find(5)->second);
  ASSERT_EQ(summary.count(1), 2u);
  const Fields loss = decode(summary.begin()->second);
  EXPECT_EQ(loss.find(1)->second, "train/loss");
  EXPECT_EQ(std::bit_cast<float>(static_cast<uint32_t>(number(loss.find(2)->second))), 2.5F);

  const Fields text = decode(decode(all[2].find(5)->second).find(1)->second);
  EXPECT_EQ(text.find(1)->second, "samples");
  EXPECT_EQ(decode(text.find(8)->second).find(8)->second, "# a\nb");
  EXPECT_EQ(decode(decode(text.find(9)->second).find(1)->second).find(1)->second, "text");
}

TEST(TensorBoard, ResumeOpensAnotherFileThatPurges) {
  TempDir dir;
  const TensorBoardWriter first(dir.path());
  const TensorBoardWriter second(dir.path(), 40);
  EXPECT_NE(first.path(), second.path());
  EXPECT_LT(first.path(), second.path());  // readers go by name
  const auto all = events(second.path());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(number(all[1].find(2)->second), 40u);
  EXPECT_EQ(number(decode(all[1].find(7)->second).find(1)->second), 1u);  // SessionLog.START
}

}  // namespace
}  // namespace continuo
