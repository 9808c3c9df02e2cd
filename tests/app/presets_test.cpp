// The embedded presets are the files of configs/generation, no more and no less.
#include "app/presets.h"

#include <filesystem>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "core/files.h"

namespace continuo {
namespace {

const std::filesystem::path kDirectory =
    std::filesystem::path(CONTINUO_SOURCE_DIR) / "configs/generation";

TEST(PresetsTest, EveryFileIsEmbedded) {
  std::set<std::string> files, names;
  for (const auto& entry : std::filesystem::directory_iterator(kDirectory)) {
    files.insert(entry.path().stem().string());
  }
  for (const Preset& preset : presets()) names.emplace(preset.name);
  EXPECT_EQ(names, files);
}

TEST(PresetsTest, TheTextIsTheFiles) {
  ASSERT_FALSE(presets().empty());
  for (const auto& [name, yaml] : presets()) {
    EXPECT_EQ(yaml, read_file(kDirectory / (std::string(name) + ".yaml"))) << name;
  }
}

}  // namespace
}  // namespace continuo
