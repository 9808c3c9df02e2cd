// A model family: how it reads and writes config.json, and where its checkpoints keep the
// parameters of the shared Transformer. Knows no other family.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "models/families/checkpoint_names.h"
#include "nn/model_spec.h"

namespace continuo {

struct Family {
  std::string_view name;          // "llama": model_type in config.json, model.family in YAML
  std::string_view architecture;  // "LlamaForCausalLM"
  // Error naming file and key: missing or wrong key, a key that changes the maths and is not
  // honoured.
  ModelSpec (*read_config)(const nlohmann::json& config, const std::filesystem::path& file);
  nlohmann::json (*write_config)(const ModelSpec& spec);
  // Name of the stored tensor that holds one of the Transformer's parameters.
  std::string (*checkpoint_name)(const std::string& parameter);
  // Where in that tensor it lies; nullptr = it is the tensor.
  Placement (*placement)(const std::string& parameter, const ModelSpec& spec) = nullptr;
  Placement place(const std::string& parameter, const ModelSpec& spec) const {
    return placement ? placement(parameter, spec) : Placement{};
  }
  // Turns a spec that holds a shape into that of a typical model of the family; nullptr = it is.
  void (*specialise)(ModelSpec& spec) = nullptr;
};

}  // namespace continuo
