// Generation settings as users meet them: presets, overrides, what a change changed, JSON. Knows no
// model.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "generate/generation_config.h"

namespace continuo {

// Reads a YAML file of GenerationConfig keys over `config`. A name that is no file ("creative") is
// that of a preset. Error: not found, faults in it.
void load_settings(GenerationConfig& config, const std::string& name_or_file);

// "top_p=0.9 stop=[a, b] greedy" → its three settings: blanks part them outside quotes and
// brackets.
std::vector<std::string> split_settings(std::string_view text);

// One line per setting that differs: "max_new_tokens: 256 → 64"; the sampler as its new stages.
// Empty when nothing does.
std::string describe_changes(const GenerationConfig& before, const GenerationConfig& after);
// All settings, the sampler resolved with every default, and notes on stages that do nothing.
std::string describe_settings(const GenerationConfig& config);

// Plain scalars become numbers, booleans or null where they read as such.
nlohmann::json to_json(const ConfigNode& node);
nlohmann::json settings_json(const GenerationConfig& config);
// Error: not a map of settings, faults in it. `name` is for messages.
GenerationConfig settings_from_json(const nlohmann::json& settings, const std::string& name);

}  // namespace continuo
