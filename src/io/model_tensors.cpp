#include "io/model_tensors.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "io/safetensors.h"
#include "io/torch_file.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSafetensors = "model.safetensors";
constexpr const char* kTorch = "pytorch_model.bin";
constexpr const char* kIndexSuffix = ".index.json";
constexpr uintmax_t kMaxIndexBytes = 100'000'000;

// Tensor name → shard file name, as the index lists them.
std::map<std::string, std::string> read_index(const fs::path& path) {
  if (fs::file_size(path) > kMaxIndexBytes) fail("{}: too large for an index", path.string());
  const nlohmann::json index = read_json(path);
  if (!index.is_object()) fail("{}: not a JSON object", path.string());
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object())
    fail("{}: has no object 'weight_map'", path.string());

  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string()) fail("{}: the shard of '{}' is not a string", path.string(), name);
    const fs::path file(shard.get<std::string>());
    // A shard lives beside its index: an index from elsewhere must not reach into other
    // directories.
    if (file.empty() || file != file.filename() || file == "." || file == "..") {
      fail("{}: the shard of '{}' is not a plain file name: '{}'", path.string(), name,
           file.string());
    }
    shards.emplace(name, file.string());
  }
  return shards;
}

template <class File>
StoredTensors open_all(const File& file) {
  StoredTensors tensors;
  for (const auto& entry : file.tensors()) tensors.emplace(entry.first, file.stored(entry.first));
  return tensors;
}

template <class File>
StoredTensors open_shards(const fs::path& index_path) {
  const fs::path directory = index_path.parent_path();
  const auto index = read_index(index_path);
  std::map<std::string, File> files;
  for (const auto& entry : index) {
    const std::string& shard = entry.second;
    if (files.contains(shard)) continue;
    if (!fs::exists(directory / shard)) {
      throw Error(fmt::format("{}: the shard {} is missing", index_path.string(), shard),
                  "the download or copy of this model is incomplete");
    }
    files.emplace(shard, File(directory / shard));
  }

  StoredTensors tensors;
  for (const auto& [name, shard] : index) {
    const File& file = files.at(shard);
    if (!file.tensors().contains(name)) {
      for (const auto& [other, candidate] : files) {
        if (candidate.tensors().contains(name)) {
          fail("{}: '{}' should be in {} but is in {}", index_path.string(), name, shard, other);
        }
      }
      fail("{}: '{}' should be in {} but is not there", index_path.string(), name, shard);
    }
    tensors.emplace(name, file.stored(name));
  }
  return tensors;
}

}  // namespace

StoredTensors open_model_tensors(const fs::path& directory) {
  if (!fs::is_directory(directory)) fail("{}: no such directory", directory.string());
  const fs::path safetensors = directory / kSafetensors, torch = directory / kTorch;
  const fs::path safetensors_index = directory / (std::string(kSafetensors) + kIndexSuffix);
  const fs::path torch_index = directory / (std::string(kTorch) + kIndexSuffix);
  if (fs::exists(safetensors)) return open_all(SafetensorsFile(safetensors));
  if (fs::exists(safetensors_index)) return open_shards<SafetensorsFile>(safetensors_index);
  if (fs::exists(torch)) return open_all(TorchFile(torch));
  if (fs::exists(torch_index)) return open_shards<TorchFile>(torch_index);
  throw Error(fmt::format("{}: holds neither {} nor {} nor an index of shards", directory.string(),
                          kSafetensors, kTorch),
              "name a model directory with weights");
}

}  // namespace continuo
