// Adapter directories in PEFT's format: adapter_config.json and adapter_model.safetensors. What
// PEFT can say and we do not compute is refused by name.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/store/adapter.h"

namespace continuo {

inline constexpr const char* kAdapterConfigFile = "adapter_config.json";
inline constexpr const char* kAdapterWeightsFile = "adapter_model.safetensors";

// An adapter and no model of its own.
bool is_adapter_directory(const std::filesystem::path& directory);

// What adapter_config.json says. Error naming file and key: not LoRA, a key that changes the maths
// and is not honoured.
struct AdapterInfo {
  LoraOptions options;
  std::string base;  // base_model_name_or_path, "" when it is not given
};
AdapterInfo read_adapter_config(const std::filesystem::path& directory);

// The base model's directory or GGUF file: `given`, or where adapter_config.json points, seen from
// the adapter's directory when it is relative. Error: it is not there.
std::filesystem::path adapter_base(const std::filesystem::path& directory,
                                   const std::filesystem::path& given = {});

// Attaches the adapters of a directory to the model that was loaded from `base`. Error: another
// base than the one the adapter was trained on, a layer that the model lacks, missing, surplus or
// misshapen tensors.
AdapterSet load_adapters(const Model& model, const std::filesystem::path& base,
                         const std::filesystem::path& directory, double dropout = 0,
                         uint64_t seed = 0);

// Overwrites attached adapters with those of a directory. Errors as above.
void restore_adapters(const AdapterSet& adapters, const std::filesystem::path& base,
                      const std::filesystem::path& directory);

// Writes both files into an existing directory; `base` is recorded with base_fingerprint(base).
void save_adapters(const AdapterSet& adapters, const std::filesystem::path& base,
                   const std::filesystem::path& directory);

// A hash of a model's tensors: names, types, shapes and a sample of each one's bytes. Reads little
// of a large file.
std::string base_fingerprint(const std::filesystem::path& base);

}  // namespace continuo
