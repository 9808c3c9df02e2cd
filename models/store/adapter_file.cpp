#include "models/store/adapter_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"
#include "io/model_tensors.h"
#include "models/families/config_reader.h"
#include "models/store/gguf_checkpoint.h"
#include "models/store/model.h"

namespace continuo {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr const char* kFingerprintKey = "continuo_base";
constexpr const char* kBaseWeightsKey = "continuo_base_weights";

// Keys that change neither the shape nor the maths of a trained adapter. Whatever else is set is
// refused: it may be a variant that computes something different.
constexpr std::array kNeutralKeys = {
    "task_type",           "peft_version",   "auto_mapping",      "revision",
    "inference_mode",      "target_modules", "exclude_modules",   "layers_to_transform",
    "layers_pattern",      "megatron_core",  "qalora_group_size", "eva_config",
    "ensure_weight_tying", "runtime_config",
};

struct AdapterTensors {
  // By "layer.lora_A.weight"; the magnitudes had a ".weight" in older versions.
  std::map<std::string, at::Tensor> tensors;
  std::string fingerprint, base_weights;  // of the base; empty where the file does not say
};

AdapterTensors read_adapter_tensors(const fs::path& file) {
  const SafetensorsFile saved(file);
  const auto told = [&](const char* key) {
    const auto found = saved.metadata().find(key);
    return found == saved.metadata().end() ? std::string() : found->second;
  };
  AdapterTensors read = {
      .tensors = {}, .fingerprint = told(kFingerprintKey), .base_weights = told(kBaseWeightsKey)};
  for (auto& [name, tensor] : saved.all()) {
    if (!name.starts_with(kPrefix)) {
      throw Error(Location{.file = file.string()},
                  fmt::format("tensor '{}' is not of an adapter", name),
                  fmt::format("Names begin with {}", kPrefix));
    }
    std::string ours = name.substr(kPrefix.size());
    if (ours.ends_with("lora_magnitude_vector.weight")) ours.resize(ours.rfind('.'));
    read.tensors[ours] = tensor;
  }
  return read;
}

void check_base(const std::string& fingerprint, const fs::path& base, const fs::path& directory) {
  if (fingerprint.empty() || fingerprint == base_fingerprint(base)) return;
  throw Error(fmt::format("{}: {} is not the model that this adapter was trained on",
                          directory.string(), base.string()),
              "Its weights have changed or it is another model. Give the right one with --base.");
}

// Copies the tensors of a file into the adapters; every one must find its place.
void assign_adapters(const AdapterSet& adapters, std::map<std::string, at::Tensor> tensors,
                     const fs::path& file) {
  const c10::NoGradGuard no_grad;
  for (const auto& [name, parameter] : adapter_parameters(adapters)) {
    const auto found = tensors.find(name);
    if (found == tensors.end())
      throw Error(Location{.file = file.string()}, "tensor '" + name + "' is missing");
    const at::Tensor& tensor = found->second;
    if (tensor.sizes() != parameter.sizes() || !at::isFloatingType(tensor.scalar_type())) {
      throw Error(
          Location{.file = file.string()},
          fmt::format("tensor '{}' has {} numbers of {}; base model and rank ask for {}", name,
                      tensor.numel(), at::toString(tensor.scalar_type()), parameter.numel()),
          "Is it the adapter of another model?");
    }
    parameter.copy_(tensor);
    tensors.erase(found);
  }
  if (!tensors.empty()) {
    throw Error(Location{.file = file.string()},
                fmt::format("tensor '{}' belongs to no linear layer of this model",
                            tensors.begin()->first));
  }
}

}  // namespace

bool is_adapter_directory(const fs::path& directory) {
  return fs::exists(directory / kAdapterConfigFile) && !fs::exists(directory / "config.json");
}

AdapterInfo read_adapter_config(const fs::path& directory) {
  const fs::path file = directory / kAdapterConfigFile;
  const json config = read_json(file);
  ConfigReader keys(config, file);
  keys.expect("peft_type", "LORA");
  keys.expect("bias", "none");
  // Other starts change the base's weights, which the saved adapter then counts on.
  static const std::set<json> kStarts = {true, false, "gaussian", "eva", "orthogonal"};
  if (keys.has("init_lora_weights") && !kStarts.contains(config["init_lora_weights"])) {
    keys.fail("init_lora_weights",
              fmt::format("is {}: such adapters fit a changed base only; convert it to plain LoRA",
                          config["init_lora_weights"].dump()));
  }
  AdapterInfo info;
  info.options.rank = keys.size("r");
  info.options.alpha = keys.number("lora_alpha", 8.0);
  info.options.dropout = keys.number("lora_dropout", 0.0);
  info.options.rslora = keys.flag("use_rslora", false);
  info.options.dora = keys.flag("use_dora", false);
  info.base = keys.text("base_model_name_or_path", "");
  for (const char* key : kNeutralKeys) keys.ignore(key);
  keys.finish();
  return info;
}

namespace {

bool is_model(const fs::path& path) { return fs::is_directory(path) || is_gguf_file(path); }

}  // namespace

fs::path adapter_base(const fs::path& directory, const fs::path& given) {
  if (!given.empty()) {
    if (is_model(given)) return given;
    throw Error("there is no base model at " + given.string());
  }
  const fs::path file = directory / kAdapterConfigFile;
  const std::string named = read_adapter_config(directory).base;
  if (named.empty()) {
    throw Error(Location{.file = file.string()}, "names no base model",
                "Give its directory with --base.");
  }
  // `/` keeps an absolute path as it is. A relative one may also be meant from where PEFT was run.
  for (const fs::path& candidate : {directory / named, fs::path(named)}) {
    if (is_model(candidate)) return candidate.lexically_normal();
  }
  throw Error(Location{.file = file.string()}, "the base model " + named + " is not there",
              "Give its directory with --base.");
}

AdapterSet load_adapters(const Model& model, const fs::path& base, const fs::path& directory,
                         double dropout, uint64_t seed) {
  AdapterInfo info = read_adapter_config(directory);
  info.options.dropout = dropout;
  const fs::path file = directory / kAdapterWeightsFile;
  auto [tensors, fingerprint, base_weights] = read_adapter_tensors(file);
  check_base(fingerprint, base, directory);
  // The tensors say which layers have an adapter: target_modules may be a list, a pattern or a
  // word.
  constexpr std::string_view kDown = ".lora_A.weight";
  std::vector<std::string> targets;
  for (const auto& [name, tensor] : tensors) {
    if (!name.ends_with(kDown)) continue;
    if (tensor.dim() != 2 || tensor.size(0) != info.options.rank) {
      throw Error(Location{.file = file.string()},
                  fmt::format("tensor '{}' is not of rank {}, which {} names", name,
                              info.options.rank, kAdapterConfigFile));
    }
    targets.push_back(name.substr(0, name.size() - kDown.size()));
  }
  if (targets.empty())
    throw Error(Location{.file = file.string()}, "holds no adapter of a linear layer");
  AdapterSet adapters = attach_adapters(model, info.options, targets, seed, {file.string()});
  assign_adapters(adapters, std::move(tensors), file);
  adapters.base_weights = base_weights;
  return adapters;
}

void restore_adapters(const AdapterSet& adapters, const fs::path& base, const fs::path& directory) {
  const fs::path file = directory / kAdapterWeightsFile;
  AdapterTensors saved = read_adapter_tensors(file);
  check_base(saved.fingerprint, base, directory);
  assign_adapters(adapters, std::move(saved.tensors), file);
}

void save_adapters(const AdapterSet& adapters, const fs::path& base, const fs::path& directory) {
  const LoraOptions& o = adapters.options;
  json config = {{"peft_type", "LORA"},
                 {"task_type", "CAUSAL_LM"},
                 {"base_model_name_or_path", fs::absolute(base).lexically_normal().string()},
                 {"r", o.rank},
                 {"lora_alpha", o.alpha},
                 {"lora_dropout", o.dropout},
                 {"use_rslora", o.rslora},
                 {"use_dora", o.dora},
                 {"target_modules", adapters.targets},
                 {"bias", "none"},
                 {"fan_in_fan_out", false},
                 {"init_lora_weights", true},
                 {"inference_mode", true}};
  // PEFT knows whole numbers only.
  if (o.alpha == std::floor(o.alpha)) config["lora_alpha"] = static_cast<int64_t>(o.alpha);
  NamedTensors tensors;
  for (const auto& [name, tensor] : adapter_parameters(adapters)) {
    tensors.emplace_back(std::string(kPrefix) + name, tensor.detach());
  }
  atomic_write(directory / kAdapterConfigFile, config.dump(2) + "\n");
  std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                 {kFingerprintKey, base_fingerprint(base)}};
  if (!adapters.base_weights.empty()) metadata[kBaseWeightsKey] = adapters.base_weights;
  write_safetensors(directory / kAdapterWeightsFile, tensors, metadata);
}

std::string base_fingerprint(const fs::path& base) {
  constexpr int64_t kBlocks = 16, kBlock = 256;
  Hasher hasher;
  const StoredTensors tensors =
      is_gguf_file(base) ? read_gguf_checkpoint(GgufFile(base)).tensors : open_model_tensors(base);
  for (const auto& [name, stored] : tensors) {
    const at::Tensor tensor = stored.whole();
    hasher.update_sized(name).update(static_cast<uint64_t>(tensor.scalar_type()));
    for (const int64_t size : tensor.sizes()) hasher.update(static_cast<uint64_t>(size));
    const at::Tensor flat = tensor.contiguous();
    const auto bytes = static_cast<int64_t>(flat.nbytes());
    const auto* begin = static_cast<const char*>(flat.const_data_ptr());
    const int64_t block = std::min(kBlock, bytes);
    for (int64_t i = 0; i < kBlocks; ++i) {
      const int64_t offset = (bytes - block) * i / (kBlocks - 1);
      hasher.update(std::string_view(begin + offset, static_cast<size_t>(block)));
    }
  }
  return hasher.hex();
}

}  // namespace continuo
