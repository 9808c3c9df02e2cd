#include "train/manifest.h"

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"

namespace continuo {

namespace fs = std::filesystem;

void write_manifest(const fs::path& directory) {
  nlohmann::json files = nlohmann::json::object();  // sorted by name
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file() || entry.path() == directory / kManifestFile) continue;
    const std::string name = entry.path().lexically_relative(directory).generic_string();
    files[name] = {{"bytes", entry.file_size()}, {"xxh3_128", hash_file(entry.path())}};
  }
  atomic_write(directory / kManifestFile, nlohmann::json{{"files", files}}.dump(2) + '\n');
}

void verify_manifest(const fs::path& directory) {
  const fs::path path = directory / kManifestFile;
  if (!fs::exists(path)) fail("{}: missing, the checkpoint is incomplete", path.string());
  const nlohmann::json manifest = read_json(path);
  const auto files = manifest.is_object() ? manifest.find("files") : manifest.end();
  if (files == manifest.end() || !files->is_object())
    fail("{}: has no object 'files'", path.string());

  for (const auto& [name, entry] : files->items()) {
    const fs::path file = directory / name;
    const auto bytes = entry.is_object() ? entry.find("bytes") : entry.end();
    const auto hash = entry.is_object() ? entry.find("xxh3_128") : entry.end();
    if (bytes == entry.end() || !bytes->is_number_unsigned() || hash == entry.end() ||
        !hash->is_string()) {
      fail("{}: the entry '{}' is damaged", path.string(), name);
    }
    if (!fs::is_regular_file(file)) fail("{}: missing, {} lists it", file.string(), kManifestFile);
    if (fs::file_size(file) != bytes->get<uintmax_t>()) {
      fail("{}: damaged: {} bytes instead of {}", file.string(), fs::file_size(file),
           bytes->get<uintmax_t>());
    }
    if (hash_file(file) != hash->get<std::string>()) {
      fail("{}: damaged: its content does not match {}", file.string(), kManifestFile);
    }
  }
}

}  // namespace continuo
