#include "data/json_row.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/json.h"

namespace continuo {
namespace {

using Json = nlohmann::json;

// Paths grow with the depth, so an adversarial "[[[[…" would cost quadratic memory.
constexpr size_t kMaxDepth = 64;

// Receives the events of the parser and files every value under its path.
class Flattener {
 public:
  bool null() { return scalar(JsonKind::kNull, "null"); }
  bool boolean(bool value) { return scalar(JsonKind::kBool, value ? "true" : "false"); }
  bool number_integer(Json::number_integer_t value) {
    return scalar(JsonKind::kNumber, fmt::format("{}", value));
  }
  bool number_unsigned(Json::number_unsigned_t value) {
    return scalar(JsonKind::kNumber, fmt::format("{}", value));
  }
  bool number_float(Json::number_float_t, const std::string& spelling) {
    return scalar(JsonKind::kNumber, spelling);
  }
  bool string(std::string& value) { return scalar(JsonKind::kString, std::move(value)); }
  bool binary(Json::binary_t&) { return false; }

  bool start_object(size_t) { return open(JsonKind::kObject); }
  bool end_object() { return close(); }
  bool start_array(size_t) { return open(JsonKind::kList); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    path_.resize(levels_.back().prefix);
    if (levels_.size() == 1) row_.names.push_back(name);
    if (levels_.size() > 1) path_ += '.';
    path_ += name;
    if (row_.values.contains(path_)) {
      fault_ = {"bad JSON", fmt::format("field \"{}\" appears twice", path_), ""};
      return false;
    }
    return true;
  }

  bool parse_error(size_t byte, const std::string& token, const Json::exception&) {
    error_byte_ = byte;
    last_token_ = token;
    return false;
  }

  JsonRow row_;
  RowFault fault_;
  size_t error_byte_ = 0;
  std::string last_token_;

 private:
  struct Level {
    JsonKind kind;
    size_t prefix;     // length of the container's own path
    JsonValue* value;  // nullptr for the row itself
    int64_t count = 0;
  };

  // Completes the path of a value that is about to be filed; false when the row is not an object.
  bool enter() {
    if (levels_.empty()) return false;
    Level& level = levels_.back();
    if (level.kind == JsonKind::kList) {
      path_.resize(level.prefix);
      path_ += fmt::format(".{}", level.count);
    }
    ++level.count;
    return true;
  }

  bool scalar(JsonKind kind, std::string text) {
    if (!enter()) return not_an_object(kind);
    row_.values[path_] = {kind, std::move(text), 0};
    return true;
  }

  bool open(JsonKind kind) {
    if (levels_.empty()) {
      if (kind != JsonKind::kObject) return not_an_object(kind);
      levels_.push_back({kind, 0, nullptr});
      return true;
    }
    if (levels_.size() == kMaxDepth) {
      fault_ = {"bad JSON", fmt::format("nested deeper than {} levels", kMaxDepth), ""};
      return false;
    }
    enter();
    JsonValue* value = &row_.values[path_];
    value->kind = kind;
    levels_.push_back({kind, path_.size(), value});
    return true;
  }

  bool close() {
    if (levels_.back().value) levels_.back().value->count = levels_.back().count;
    levels_.pop_back();
    return true;
  }

  bool not_an_object(JsonKind kind) {
    fault_ = {"not an object", fmt::format("the row is {}, not an object", describe(kind)),
              kind == JsonKind::kList
                  ? "write one JSON object per line (`jq -c '.[]' file.json` converts a list)"
                  : ""};
    return false;
  }

  std::string path_;
  std::vector<Level> levels_;
};

}  // namespace

std::string_view describe(JsonKind kind) {
  switch (kind) {
    case JsonKind::kString:
      return "a string";
    case JsonKind::kNumber:
      return "a number";
    case JsonKind::kBool:
      return "a boolean";
    case JsonKind::kNull:
      return "null";
    case JsonKind::kObject:
      return "an object";
    case JsonKind::kList:
      return "a list";
  }
  return "unknown";
}

const JsonValue* JsonRow::find(std::string_view path) const {
  const auto found = values.find(path);
  return found == values.end() ? nullptr : &found->second;
}

std::variant<JsonRow, RowFault> parse_json_row(std::string_view line) {
  Flattener flattener;
  if (Json::sax_parse(line.begin(), line.end(), &flattener)) return std::move(flattener.row_);
  if (!flattener.fault_.reason.empty()) return std::move(flattener.fault_);
  const size_t byte = flattener.error_byte_ > 0 ? flattener.error_byte_ - 1 : 0;
  RowFault fault{"bad JSON", "", "", locate_offset(line, byte, {"", 1}).column};
  if (byte >= line.size()) {
    fault.message = "bad JSON: the row ends too early";
    fault.hint = "every row must be one complete JSON object on one line";
  } else {
    // The parser hands over what it read of the token, raw bytes included.
    std::string seen;
    for (const char c : flattener.last_token_.substr(0, 40)) {
      seen +=
          static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7F ? '?' : c;
    }
    fault.message = fmt::format("bad JSON near `{}`", seen);
  }
  return fault;
}

bool is_weight(double value) { return std::isfinite(value) && value >= 0; }

std::string without_suffix(std::string text, std::string_view suffix) {
  if (text.ends_with(suffix)) text.resize(text.size() - suffix.size());
  return text;
}

}  // namespace continuo
