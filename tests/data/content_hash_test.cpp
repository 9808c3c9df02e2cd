#include "data/content_hash.h"

#include <chrono>

#include <gtest/gtest.h>

#include "core/hash.h"
#include "support/data_fixture.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

void age(const fs::path& file, int seconds) {
  fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::seconds(seconds));
}

size_t notes(const fs::path& cache) {
  std::error_code error;
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator(cache / "hashes", error))
    count += entry.is_regular_file();
  return count;
}

TEST(ContentHash, IsRememberedAndVerified) {
  const test::TempDir dir;
  const fs::path file = dir.write("rows.jsonl", "one");
  const fs::path cache = dir / "cache";
  age(file, 100);
  const std::string one = content_hash(file, cache);
  EXPECT_EQ(one, hash_bytes("one"));
  ASSERT_EQ(notes(cache), 1U);

  // A note that agrees is believed: plant another hash to see it.
  const fs::path note = fs::directory_iterator(cache / "hashes")->path();
  std::string text = test::read_file(note);
  const std::string planted(32, 'f');
  text.replace(text.find(one), 32, planted);
  std::ofstream(note) << text;
  EXPECT_EQ(content_hash(file, cache), planted);

  // Same size and time, other bytes: the sample tells.
  std::ofstream(file) << "two";
  age(file, 100);
  EXPECT_EQ(content_hash(file, cache), hash_bytes("two"));
  // Other size.
  std::ofstream(file) << "three";
  EXPECT_EQ(content_hash(file, cache), hash_bytes("three"));
}

TEST(ContentHash, DamagedNotesAndFreshFiles) {
  const test::TempDir dir;
  const fs::path file = dir.write("rows.jsonl", "one");
  const fs::path cache = dir / "cache";
  EXPECT_EQ(content_hash(file, cache), hash_bytes("one"));
  EXPECT_EQ(notes(cache), 0U) << "a file modified just now is not remembered";
  age(file, 100);
  content_hash(file, cache);
  for (const std::string& damage :
       {std::string("{"), std::string("[]"), std::string("{\"path\": 3}")}) {
    std::ofstream(fs::directory_iterator(cache / "hashes")->path()) << damage;
    EXPECT_EQ(content_hash(file, cache), hash_bytes("one"));
  }
  EXPECT_NE(test::error_of([&] { content_hash(dir / "none", cache); }).find("none"),
            std::string::npos);
  EXPECT_EQ(content_hash(dir.write("empty", ""), cache), hash_bytes(""));
}

}  // namespace
}  // namespace continuo
