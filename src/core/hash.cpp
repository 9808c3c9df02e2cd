#include "core/hash.h"

#include <array>
#include <cstdio>
#include <new>
#include <vector>

#include <fmt/format.h>
#include <xxhash.h>

#include "core/files.h"

namespace continuo {
namespace {

std::string to_hex(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace

void Hasher::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

Hasher::Hasher() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(state_.get());
}

Hasher& Hasher::update(std::string_view bytes) {
  if (!bytes.empty()) XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
  return *this;
}

Hasher& Hasher::update_sized(std::string_view bytes) {
  return update(uint64_t{bytes.size()}).update(bytes);
}

Hasher& Hasher::update(uint64_t number) {
  std::array<char, 8> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(number >> (8 * i));
  return update(std::string_view(bytes.data(), bytes.size()));
}

std::string Hasher::hex() const { return to_hex(XXH3_128bits_digest(state_.get())); }

std::string hash_bytes(std::string_view bytes) {
  return to_hex(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string hash_file(const std::filesystem::path& path) {
  Hasher hasher;
  FileReader reader(path);
  std::vector<char> buffer(size_t{1} << 20);
  while (size_t count = reader.read(buffer.data(), buffer.size())) {
    hasher.update(std::string_view(buffer.data(), count));
  }
  return hasher.hex();
}

}  // namespace continuo
