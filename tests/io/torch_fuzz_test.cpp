// Damaged files of torch.save give an Error or a readable file, never a crash; meant to run under
// the sanitizers too.
#include <filesystem>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/fuzz.h"
#include "io/stored_zip.h"
#include "io/torch_file.h"
#include "io/zip_builder.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::ZipBuilder;

std::string torch_golden(const std::string& name) {
  return test::read_file(std::filesystem::path(CONTINUO_SOURCE_DIR) / "tests/golden/torch" / name);
}

// True when the bytes are read as a file; every tensor is then touched to its last byte.
bool torch_readable(const std::string& bytes) {
  const test::MemoryFile damaged(bytes);
  try {
    const TorchFile file(damaged.path());
    for (const auto& entry : file.tensors()) file.tensor(entry.first).clone();
    return true;
  } catch (const Error&) {
    return false;
  }
}

TEST(TorchFuzz, EveryTruncationIsAnError) {
  const std::string bytes = torch_golden("protocol2.bin");
  ASSERT_TRUE(torch_readable(bytes));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(torch_readable(bytes.substr(0, size))) << size;
  }
}

TEST(TorchFuzz, NoDamageOfTheArchiveCrashes) {
  int refused = 0, total = 0;
  for (const char* name : {"state.bin", "protocol5.bin"}) {
    const std::string bytes = torch_golden(name);
    std::mt19937_64 engine(21);
    for (int i = 0; i < 1500; ++i, ++total) {
      if (!torch_readable(test::damage(bytes, bytes.size(), engine))) ++refused;
    }
  }
  EXPECT_GT(refused, total / 10);
  EXPECT_LT(refused, total);
}

// Damages the pickle inside an archive that stays sound.
TEST(TorchFuzz, NoDamageOfThePickleCrashes) {
  int refused = 0, total = 0;
  for (const std::string stem : {"state", "nested", "protocol2", "protocol4"}) {
    const std::string bytes = torch_golden(stem + ".bin");
    const ZipEntries entries = read_stored_zip(test::bytes_of(bytes), stem);
    const auto text_of = [&](const std::string& name) {
      const auto entry = entries.find(name)->second;
      return std::string(reinterpret_cast<const char*>(entry.data()), entry.size());
    };
    const std::string pickle = text_of(stem + "/data.pkl");
    std::mt19937_64 engine(22);
    for (int i = 0; i < 1500; ++i, ++total) {
      ZipBuilder archive;
      archive.add({"m/data.pkl", test::damage(pickle, pickle.size(), engine)});
      for (const auto& entry : entries) {
        const std::string& name = entry.first;
        if (name.starts_with(stem + "/data/")) {
          archive.add({fmt::format("m{}", name.substr(stem.size())), text_of(name)});
        }
      }
      if (!torch_readable(archive.finish())) ++refused;
    }
  }
  EXPECT_GT(refused, total / 4);
  EXPECT_LT(refused, total);
}

}  // namespace
}  // namespace continuo
