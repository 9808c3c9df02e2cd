// Damaged files give an Error or a readable file, never a crash; meant to run under the sanitizers
// too.
#include <cstring>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/fuzz.h"
#include "io/safetensors.h"
#include "io/safetensors_header.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::TempDir;

std::string sample(const TempDir& dir) {
  write_safetensors(dir / "sample",
                    {{"model.weight", at::ones({3, 2})},
                     {"mask", at::ones({5}, at::kBool)},
                     {"n", at::ones({2}, at::kLong)}},
                    {{"format", "pt"}});
  return test::read_file(dir / "sample");
}

// True when the bytes are read as a file; every tensor is then touched to its last byte.
bool readable(const std::string& bytes) {
  const test::MemoryFile damaged(bytes);
  try {
    const SafetensorsFile file(damaged.path());
    for (const auto& entry : file.tensors()) file.tensor(entry.first).clone();
    return true;
  } catch (const Error&) {
    return false;
  }
}

TEST(SafetensorsFuzz, EveryTruncationIsAnError) {
  TempDir dir;
  const std::string bytes = sample(dir);
  ASSERT_TRUE(readable(bytes));
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(readable(bytes.substr(0, length))) << length;
  }
  EXPECT_FALSE(readable(bytes + '\0'));
}

TEST(SafetensorsFuzz, NoBitFlipOfTheHeaderCrashes) {
  TempDir dir;
  const std::string bytes = sample(dir);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  int refused = 0, total = 0;
  for (size_t i = 0; i < 8 + length; ++i) {
    for (int bit = 0; bit < 8; ++bit, ++total) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      if (!readable(damaged)) ++refused;
    }
  }
  // Flips inside names and metadata are other valid names; most of the rest must be noticed.
  EXPECT_GT(refused, total / 2);
  EXPECT_LT(refused, total);
}

TEST(SafetensorsFuzz, NoByteValueInTheHeaderCrashes) {
  TempDir dir;
  const std::string bytes = sample(dir);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const std::string header = bytes.substr(8, length);
  const auto data_bytes = static_cast<int64_t>(bytes.size() - 8 - length);
  const std::string interesting("\0\xff\"\\{}[],:-.e0\x80 ", 17);
  int refused = 0;
  for (size_t i = 0; i < header.size(); ++i) {
    for (char value : interesting) {
      std::string damaged = header;
      damaged[i] = value;
      try {
        parse_safetensors_header(damaged, data_bytes, "damaged");
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace continuo
