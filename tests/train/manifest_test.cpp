#include "train/manifest.h"

#include <string>

#include <gtest/gtest.h>

#include "core/error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::TempDir;

std::string manifest_fault(const TempDir& dir) {
  try {
    verify_manifest(dir.path());
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

struct Manifest : testing::Test {
  TempDir dir;
  void SetUp() override {
    dir.write("a.bin", "hello");
    dir.write("sub/b.bin", "");
    write_manifest(dir.path());
    ASSERT_EQ(manifest_fault(dir), "");
  }
};

TEST_F(Manifest, FilesNobodyListsAreNoFault) {
  dir.write("more.txt", "x");
  EXPECT_EQ(manifest_fault(dir), "");
}

TEST_F(Manifest, EveryBitFlipNamesTheFile) {
  for (int bit = 0; bit < 40; ++bit) {
    std::string bytes = "hello";
    bytes[static_cast<size_t>(bit / 8)] ^= static_cast<char>(1 << bit % 8);
    dir.write("a.bin", bytes);
    EXPECT_NE(manifest_fault(dir).find("a.bin: damaged"), std::string::npos) << bit;
  }
}

TEST_F(Manifest, OtherSizesAndMissingFiles) {
  dir.write("sub/b.bin", "x");
  EXPECT_NE(manifest_fault(dir).find("b.bin: damaged: 1 bytes instead of 0"), std::string::npos);
  std::filesystem::remove(dir / "a.bin");
  EXPECT_NE(manifest_fault(dir).find("a.bin: missing"), std::string::npos);
}

TEST_F(Manifest, DamagedManifests) {
  const std::string good = test::read_file(dir / kManifestFile);
  for (const char* text : {"", "[]", "{}", "{\"files\":[]}", "{\"files\":{\"a.bin\":1}}",
                           "{\"files\":{\"a.bin\":{\"bytes\":5}}}"}) {
    dir.write(kManifestFile, text);
    EXPECT_NE(manifest_fault(dir), "") << text;
  }
  for (size_t length = 0; length + 1 < good.size(); ++length) {
    dir.write(kManifestFile, good.substr(0, length));
    EXPECT_NE(manifest_fault(dir), "") << length;
  }
  std::filesystem::remove(dir / kManifestFile);
  EXPECT_NE(manifest_fault(dir).find("incomplete"), std::string::npos);
}

}  // namespace
}  // namespace continuo
