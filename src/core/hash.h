// Content hashes: XXH3-128 as 32 hex digits (canonical byte order). Not for security; two inputs
// that differ get different hashes for every practical purpose.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace continuo {

// Hashes a stream. hex() may be called at any time.
class Hasher {
 public:
  Hasher();

  // Plain concatenation: update("ab") equals update("a"), update("b").
  Hasher& update(std::string_view bytes);
  // Length first, so that neighbouring fields cannot run into each other.
  Hasher& update_sized(std::string_view bytes);
  // Eight bytes, little-endian.
  Hasher& update(uint64_t number);

  std::string hex() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

std::string hash_bytes(std::string_view bytes);
// Streams the file. Error: unreadable.
std::string hash_file(const std::filesystem::path& path);

}  // namespace continuo
