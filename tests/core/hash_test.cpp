#include "core/hash.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

TEST(Hash, KnownAnswerOfXxh3) {
  // The published 128-bit hash of the empty input.
  EXPECT_EQ(hash_bytes(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(Hasher().hex(), hash_bytes(""));
}

TEST(Hash, StreamsEqualWholes) {
  std::string text(100000, 'x');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31);
  Hasher hasher;
  for (size_t at = 0, step = 1; at < text.size(); at += step, step = step * 2 + 1) {
    hasher.update(std::string_view(text).substr(at, step));
  }
  EXPECT_EQ(hasher.hex(), hash_bytes(text));
  EXPECT_EQ(hasher.hex(), hash_bytes(text)) << "asking does not change it";
  test::TempDir dir;
  EXPECT_EQ(hash_file(dir.write("f", text)), hash_bytes(text));
  EXPECT_EQ(hash_file(dir.write("empty", "")), hash_bytes(""));
  test::expect_error([&] { hash_file(dir / "none"); }, {"none", "No such file"});
}

TEST(Hash, SizedFieldsDoNotRunIntoEachOther) {
  EXPECT_EQ(Hasher().update("ab").update("c").hex(), Hasher().update("a").update("bc").hex());
  EXPECT_NE(Hasher().update_sized("ab").update_sized("c").hex(),
            Hasher().update_sized("a").update_sized("bc").hex());
  EXPECT_NE(Hasher().update_sized("").hex(), Hasher().hex());
  EXPECT_EQ(Hasher().update(uint64_t{0x4142}).hex(),
            hash_bytes(std::string_view("BA\0\0\0\0\0\0", 8)));
}

}  // namespace
}  // namespace continuo
