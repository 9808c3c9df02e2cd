#include "data/content_hash.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <optional>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kSample = 64 << 10;
constexpr auto kRacyAge = std::chrono::seconds(2);

std::string hash_samples(const fs::path& file, uint64_t size) {
  std::ifstream stream(file, std::ios::binary);
  std::string buffer(kSample, '\0');
  Hasher hasher;
  const uint64_t last = size > kSample ? size - kSample : 0;
  for (const uint64_t offset : {uint64_t{0}, last / 2, last}) {
    stream.seekg(static_cast<std::streamoff>(offset));
    stream.read(buffer.data(), static_cast<std::streamsize>(std::min(kSample, size)));
    if (!stream) fail("cannot read {}", file.string());
    hasher.update_sized({buffer.data(), static_cast<size_t>(stream.gcount())});
  }
  return hasher.hex();
}

std::optional<std::string> remembered_hash(const fs::path& note, const std::string& path,
                                           const FileStamp& stamp) {
  std::ifstream stream(note);
  const auto json = nlohmann::json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto is = [&](const char* key, const nlohmann::json& value) {
    const auto found = json.find(key);
    return found != json.end() && *found == value;
  };
  const bool same = is("path", path) && is("size", stamp.size) &&
                    is("modified_ns", stamp.modified_ns) && is("sample", stamp.sample);
  const auto hash = json.find("hash");
  if (!same || hash == json.end() || !hash->is_string()) return std::nullopt;
  const std::string text = *hash;
  return text.size() == 32 ? std::optional(text) : std::nullopt;
}

}  // namespace

FileStamp stamp_file(const fs::path& file) {
  std::error_code error;
  const auto modified = fs::last_write_time(file, error);
  const uint64_t size = error ? 0 : fs::file_size(file, error);
  if (error) throw Error(fmt::format("cannot read {}: {}", file.string(), error.message()));
  return {size,
          std::chrono::duration_cast<std::chrono::nanoseconds>(
              std::chrono::file_clock::to_sys(modified).time_since_epoch())
              .count(),
          hash_samples(file, size)};
}

std::string content_hash(const fs::path& file, const fs::path& cache) {
  const std::string path = fs::absolute(file).lexically_normal().string();
  const fs::path note = cache / "hashes" / (hash_bytes(path) + ".json");
  const FileStamp stamp = stamp_file(file);
  if (auto hash = remembered_hash(note, path, stamp)) return *hash;
  const std::string hash = hash_file(file);
  const auto age = std::chrono::system_clock::now().time_since_epoch() -
                   std::chrono::nanoseconds(stamp.modified_ns);
  if (age >= kRacyAge && stamp_file(file) == stamp) {
    const nlohmann::json json = {{"path", path},
                                 {"size", stamp.size},
                                 {"modified_ns", stamp.modified_ns},
                                 {"sample", stamp.sample},
                                 {"hash", hash}};
    atomic_write(note, json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  return hash;
}

}  // namespace continuo
