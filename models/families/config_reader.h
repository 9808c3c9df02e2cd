// Reads a config.json, or the like of it for an adapter, key by key and remembers which were read:
// what is left over and is not known to be harmless may change the maths, and is refused by name.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace continuo {

class ConfigReader {
 public:
  // `config` must outlive the reader; `prefix` is put before keys in messages ("rope_parameters.").
  ConfigReader(const nlohmann::json& config, std::filesystem::path file, std::string prefix = "");

  // Every reader marks its key. Absent and null are the same: the fallback. Error: another type or
  // range.
  bool has(const std::string& key);
  int64_t size(const std::string& key);                     // 1 … 2^31, must be there
  int64_t size(const std::string& key, int64_t fallback);   // 1 … 2^31
  int64_t count(const std::string& key, int64_t fallback);  // 0 … 2^31
  double positive(const std::string& key, double fallback);
  double number(const std::string& key, double fallback);  // finite
  bool flag(const std::string& key, bool fallback);
  std::string text(const std::string& key, const std::string& fallback);
  std::vector<std::string> texts(const std::string& key);  // empty when absent
  std::vector<double> numbers(const std::string& key);     // empty when absent
  std::vector<int64_t> ids(const std::string& key);        // one or a list; empty when absent
  ConfigReader object(const std::string& key);             // must be there

  // A key whose other values would change the maths: absent or `expected`, else an Error.
  void expect(const std::string& key, const nlohmann::json& expected);
  void ignore(const std::string& key) { read_.insert(key); }
  // Error naming the first key that was neither read nor is harmless, unless its value is null,
  // false or empty.
  void finish() const;
  [[noreturn]] void fail(const std::string& key, const std::string& what) const;
  const std::filesystem::path& file() const { return file_; }

 private:
  const nlohmann::json* find(const std::string& key);
  const nlohmann::json& config_;
  std::filesystem::path file_;
  std::string prefix_;
  std::set<std::string> read_;
};

}  // namespace continuo
