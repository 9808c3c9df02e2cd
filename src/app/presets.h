// The generation settings that come with the program: the files of configs/generation, whose text
// the build embeds, so that the binary has them wherever it lies.
#pragma once

#include <span>
#include <string_view>

namespace continuo {

struct Preset {
  std::string_view name;  // "creative"
  std::string_view yaml;  // the file's text, byte for byte
};

// By name.
std::span<const Preset> presets();

}  // namespace continuo
