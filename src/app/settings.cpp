#include "app/settings.h"

#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/presets.h"
#include "core/config/text.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

ConfigNode find_settings(const std::string& name_or_file) {
  if (fs::is_regular_file(name_or_file)) return load_yaml(name_or_file);
  if (name_or_file.find_first_of("/.") != std::string::npos) {
    throw Error(fmt::format("there is no file {}", name_or_file));
  }
  std::string known;
  for (const auto& [name, yaml] : presets()) {
    if (name == name_or_file) return parse_yaml(yaml, fmt::format("preset {}", name));
    known += fmt::format(" {}", name);
  }
  throw Error(fmt::format("there are no generation settings '{}'", name_or_file),
              "give a YAML file, or one of:" + known);
}

void add_lines(std::string& text, std::string_view block) {
  while (!block.empty()) {
    const size_t end = block.find('\n');
    text += fmt::format("\n  {}", block.substr(0, end));
    block = end == std::string_view::npos ? std::string_view() : block.substr(end + 1);
  }
}

ConfigNode dumped(const GenerationConfig& config) {
  return parse_yaml(dump_config(config), "settings");
}

std::string flow(const ConfigNode& node) { return to_json(node).dump(); }

std::string describe_sampler(const GenerationConfig& config) {
  std::string text = "sampler:";
  add_lines(text, describe_chain(config));
  for (const std::string& note : chain_notes(config)) text += "\nnote: " + note;
  return text;
}

}  // namespace

void load_settings(GenerationConfig& config, const std::string& name_or_file) {
  GenerationConfig changed = config;
  Problems problems;
  load_config(find_settings(name_or_file), changed, problems);
  validate(changed, problems);
  problems.raise();
  config = std::move(changed);
}

std::vector<std::string> split_settings(std::string_view text) {
  std::vector<std::string> settings;
  std::string setting;
  int depth = 0;   // of brackets
  char quote = 0;  // that is open
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == ' ' || c == '\t') && depth == 0 && quote == 0) {
      if (!setting.empty()) settings.push_back(std::exchange(setting, {}));
      continue;
    }
    const bool opens_value = !setting.empty() && std::string_view("=[{,: ").find(setting.back()) !=
                                                     std::string_view::npos;
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if ((c == '"' || c == '\'') && opens_value) {
      quote = c;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      --depth;
    }
    setting += c;
    if (c == '\\' && quote == '"' && i + 1 < text.size()) setting += text[++i];
  }
  if (!setting.empty()) settings.push_back(std::move(setting));
  return settings;
}

std::string describe_changes(const GenerationConfig& before, const GenerationConfig& after) {
  const ConfigNode old_values = dumped(before), new_values = dumped(after);
  std::string text;
  for (const auto& [key, value] : new_values.fields) {
    if (key == "sampler") continue;
    const ConfigNode* old = old_values.find(key);
    const std::string was = old ? flow(*old) : "null", is = flow(value);
    if (was != is) text += fmt::format("{}{}: {} → {}", text.empty() ? "" : "\n", key, was, is);
  }
  if (describe_chain(before) != describe_chain(after)) {
    text += fmt::format("{}{}", text.empty() ? "" : "\n", describe_sampler(after));
  }
  return text;
}

std::string describe_settings(const GenerationConfig& config) {
  std::string text;
  for (const auto& [key, value] : dumped(config).fields) {
    if (key != "sampler") text += fmt::format("{}: {}\n", key, flow(value));
  }
  return text + describe_sampler(config);
}

json to_json(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      return nullptr;
    case ConfigNode::Kind::kList: {
      json list = json::array();
      for (const ConfigNode& item : node.items) list.push_back(to_json(item));
      return list;
    }
    case ConfigNode::Kind::kMap: {
      json map = json::object();
      for (const auto& [key, value] : node.fields) map[key] = to_json(value);
      return map;
    }
    case ConfigNode::Kind::kScalar:
      break;
  }
  if (node.quoted) return node.scalar;
  if (is_null(node.scalar)) return nullptr;
  if (const auto flag = parse_bool(node.scalar)) return *flag;
  if (const auto number = parse_integer(node.scalar)) return *number;
  // Infinity has no JSON number; its YAML spelling survives as text.
  const auto real = parse_real(node.scalar);
  if (real && *real - *real == 0) return *real;
  return node.scalar;
}

json settings_json(const GenerationConfig& config) { return to_json(dumped(config)); }

GenerationConfig settings_from_json(const json& settings, const std::string& name) {
  if (!settings.is_object()) throw Error(Location{name}, "settings is not an object");
  // JSON is YAML, so one loader checks both.
  GenerationConfig config;
  Problems problems;
  load_config(parse_yaml(settings.dump(), name), config, problems);
  validate(config, problems);
  problems.raise();
  return config;
}

}  // namespace continuo
