#include "io/stored_zip.h"

#include <gtest/gtest.h>

#include "io/error_text.h"
#include "io/zip_builder.h"

namespace continuo {
namespace {

using test::bytes_of;
using test::contains;
using test::error_text;
using test::ZipBuilder;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string zip_fault(const std::string& archive) {
  return error_text([&] { read_stored_zip(bytes_of(archive), "x.zip"); });
}

TEST(StoredZip, EntriesAreViews) {
  for (const bool zip64 : {false, true}) {
    const std::string archive = ZipBuilder()
                                    .add({"a/b", "hello"})
                                    .add({"c", "", 0, 0, 0, true})
                                    .add({"d", "world", 0, 0, 0, true})
                                    .finish(zip64, "a comment");
    EXPECT_TRUE(looks_like_zip(bytes_of(archive)));
    const ZipEntries entries = read_stored_zip(bytes_of(archive), "x.zip");
    ASSERT_EQ(entries.size(), 3U);
    EXPECT_EQ(text_of(entries.at("a/b")), "hello");
    EXPECT_EQ(entries.at("c").size(), 0U);
    EXPECT_EQ(text_of(entries.at("d")), "world");
    EXPECT_GE(entries.at("d").data(), bytes_of(archive).data());
  }
  const std::string nothing = ZipBuilder().finish();
  EXPECT_TRUE(read_stored_zip(bytes_of(nothing), "x.zip").empty());
  EXPECT_FALSE(looks_like_zip(bytes_of("PK")));
}

TEST(StoredZip, BadEntries) {
  const auto one = [](ZipBuilder::Entry entry) {
    return zip_fault(ZipBuilder().add(entry).finish());
  };
  EXPECT_TRUE(contains(one({"a", "x", 8}), "x.zip: the entry 'a' is compressed"));
  EXPECT_TRUE(contains(one({"a", "x", 0, 1}), "'a' is encrypted"));
  EXPECT_TRUE(contains(one({"a", "x", 0, 0, 1}), "'a' is not at byte 1"));
  EXPECT_TRUE(contains(one({"a", "x", 0, 0, 0xfffffff0U}), "'a' is not at byte"));
  EXPECT_TRUE(contains(one({"a", "x", 0, 0, 0, false, "b"}), "has another name"));
  EXPECT_TRUE(contains(one({"\xff", "x"}), "UTF-8"));
  EXPECT_TRUE(
      contains(zip_fault(ZipBuilder().add({"a", "x"}).add({"a", "y"}).finish()), "comes twice"));
  // The second entry's directory record points at the first one's data.
  EXPECT_TRUE(contains(
      zip_fault(ZipBuilder().add({"a", "x"}).add({"a", "y", 0, 0, uint32_t(-32)}).finish()),
      "overlaps another"));
}

TEST(StoredZip, EveryTruncationIsAnError) {
  for (const bool zip64 : {false, true}) {
    const std::string archive =
        ZipBuilder().add({"a", "hello"}).add({"b", "x", 0, 0, 0, true}).finish(zip64);
    for (size_t size = 0; size < archive.size(); ++size) {
      EXPECT_NE(zip_fault(archive.substr(0, size)), "") << size;
    }
    EXPECT_NE(zip_fault(archive + "x"), "");
  }
}

TEST(StoredZip, NoDamagedByteCrashes) {
  for (const bool zip64 : {false, true}) {
    const std::string archive =
        ZipBuilder().add({"a", "hello"}).add({"b", "x", 0, 0, 0, true}).finish(zip64);
    for (size_t i = 0; i < archive.size(); ++i) {
      for (const int value : {0, 1, 0x7f, 0x80, 0xff}) {
        std::string damaged = archive;
        damaged[i] = static_cast<char>(value);
        zip_fault(damaged);
      }
    }
  }
}

}  // namespace
}  // namespace continuo
