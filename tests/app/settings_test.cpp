// Presets are found by name, files by path; what is neither is refused with a way out.
#include "app/settings.h"

#include <gtest/gtest.h>

#include "app/presets.h"
#include "core/error.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::expect_error;
using test::TempDir;

TEST(SplitSettings, PartsAtBlanksOutsideValues) {
  using List = std::vector<std::string>;
  const std::pair<const char*, List> kCases[] = {
      {"", {}},
      {"  ", {}},
      {"seed=1", {"seed=1"}},
      {"seed=1 max_new_tokens=2", {"seed=1", "max_new_tokens=2"}},
      {"\tgreedy   top_p=0.9 ", {"greedy", "top_p=0.9"}},
      {"stop=[a, b c] seed=2", {"stop=[a, b c]", "seed=2"}},
      {"stop={a: [1, 2], b: 3} seed=2", {"stop={a: [1, 2], b: 3}", "seed=2"}},
      {R"(stop="a b" seed=2)", {R"(stop="a b")", "seed=2"}},
      {R"(stop="say \"a b\"" seed=2)", {R"(stop="say \"a b\"")", "seed=2"}},
      {"stop='] x' seed=2", {"stop='] x'", "seed=2"}},
      {"stop=don't seed=2", {"stop=don't", "seed=2"}},
  };
  for (const auto& [text, settings] : kCases) EXPECT_EQ(split_settings(text), settings) << text;
}

TEST(SplitSettings, EachOneIsASetting) {
  GenerationConfig config;
  for (const std::string& setting : split_settings("seed=5 max_new_tokens=7 stop=[a b, c]")) {
    apply_generation_override(config, setting);
  }
  EXPECT_EQ(config.seed, 5);
  EXPECT_EQ(config.max_new_tokens, 7);
  EXPECT_EQ(config.stop, (std::vector<std::string>{"a b", "c"}));
}

TEST(LoadSettings, APresetByItsName) {
  GenerationConfig config;
  load_settings(config, "precise");
  EXPECT_EQ(config.max_new_tokens, 512);
}

TEST(LoadSettings, EveryPresetIsSound) {
  for (const Preset& preset : presets()) {
    GenerationConfig config;
    EXPECT_NO_THROW(load_settings(config, std::string(preset.name))) << preset.name;
  }
}

TEST(LoadSettings, AFileByItsPathOverWhatIsSet) {
  const TempDir dir;
  GenerationConfig config;
  config.samples = 3;
  load_settings(config, dir.write("mine.yaml", "max_new_tokens: 7\n"));
  EXPECT_EQ(config.max_new_tokens, 7);
  EXPECT_EQ(config.samples, 3);
}

TEST(LoadSettings, AnUnknownNameListsThePresets) {
  GenerationConfig config;
  expect_error([&] { load_settings(config, "creativ"); },
               {"there are no generation settings 'creativ'", "creative greedy"});
  expect_error([&] { load_settings(config, "missing.yaml"); }, {"there is no file missing.yaml"});
}

}  // namespace
}  // namespace continuo
