// Checked access to the keys of a config.json; every Error names the file and the key.
#pragma once

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace continuo {

[[noreturn]] inline void config_key_error(const std::filesystem::path& file, const std::string& key,
                                          const std::string& what) {
  throw Error(Location{.file = file.string()}, "key '" + key + "' " + what);
}

// The value of `key`, or `fallback` when it is absent or null.
template <class T>
T optional_key(const nlohmann::json& config, const std::filesystem::path& file,
               const std::string& key, T fallback) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return fallback;
  try {
    return found->get<T>();
  } catch (const nlohmann::json::exception&) {
    config_key_error(file, key, "has the wrong type: " + found->dump());
  }
}

// A size that must be given, from 1 to 2^31.
inline int64_t required_size(const nlohmann::json& config, const std::filesystem::path& file,
                             const std::string& key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) config_key_error(file, key, "is missing");
  if (!found->is_number_integer() || *found < 1 || *found > (int64_t{1} << 31)) {
    config_key_error(file, key, "must be a positive integer, not " + found->dump());
  }
  return found->get<int64_t>();
}

// A key whose other values would change the meaning: absent or `expected`, else an Error.
inline void require_value(const nlohmann::json& config, const std::filesystem::path& file,
                          const std::string& key, const nlohmann::json& expected) {
  const auto found = config.find(key);
  if (found != config.end() && !found->is_null() && *found != expected) {
    config_key_error(file, key,
                     "is " + found->dump() + "; only " + expected.dump() + " is supported");
  }
}

}  // namespace continuo
