// A value inside a JSON document that knows its path, so that every fault names file and field
// ("pre_tokenizer.pretokenizers[1].type").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "core/error.h"

namespace continuo {

class JsonField {
 public:
  // The root of a document. `value` and `where` must outlive the field and everything taken from
  // it.
  JsonField(const nlohmann::json& value, const Location& where) : value_(&value), where_(&where) {}

  const nlohmann::json& value() const { return *value_; }

  // A member of an object; `find` gives nothing when it is absent or null. Error: not an object.
  std::optional<JsonField> find(std::string_view key) const;
  JsonField at(std::string_view key) const;
  // An array. Error: it is none.
  size_t size() const;
  JsonField item(size_t index) const;

  // Error: another type.
  const std::string& string() const;
  bool boolean() const;
  double number() const;
  int32_t token_id() const;  // 0 … 2³¹−1

  // Members with a default for when they are absent or null.
  bool boolean(std::string_view key, bool otherwise) const;
  std::string string(std::string_view key, std::string_view otherwise) const;

  [[noreturn]] void fail(std::string_view message, const std::string& hint = {}) const;

 private:
  JsonField(const nlohmann::json& value, const Location& where, std::string path)
      : value_(&value), where_(&where), path_(std::move(path)) {}

  const nlohmann::json* value_;
  const Location* where_;
  std::string path_;
};

}  // namespace continuo
