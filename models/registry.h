// The model families, one row each: how a family reads and writes config.json and what it calls the parameters of the
// shared Transformer. Adding a family is one file and one row.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "nn/transformer.h"

namespace continuo {

struct Family {
  std::string_view name;          // "llama": model_type in config.json, model.family in YAML
  std::string_view architecture;  // "LlamaForCausalLM"
  // Error naming file and key: missing or wrong key, a key that changes the maths and is not honoured.
  TransformerOptions (*read_config)(const nlohmann::json& config, const std::filesystem::path& file);
  nlohmann::json (*write_config)(const TransformerOptions& options);
  // Name of one of the Transformer's parameters in model.safetensors.
  std::string (*checkpoint_name)(const std::string& parameter);
};

std::span<const Family> families();
const Family* find_family(std::string_view name);  // nullptr when unknown
std::string known_families();                      // "Known families: llama."

}  // namespace continuo
