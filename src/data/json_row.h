// One line of JSONL as flat text: every scalar under its dotted path ("question",
// "instances.0.input"). Numbers and booleans keep the spelling of the file. Faults are values,
// because a setting may say to count them and go on.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace continuo {

// Why a row cannot be used. `reason` is the short name it is counted under.
struct RowFault {
  std::string reason;
  std::string message;
  std::string hint;
  int64_t column = 0;  // from 1, in characters; 0 = the whole row
  int64_t line = 0;    // lines below the row's first
};

enum class JsonKind { kString, kNumber, kBool, kNull, kObject, kList };
std::string_view describe(JsonKind kind);  // "a string", "a list", …

struct JsonValue {
  JsonKind kind = JsonKind::kNull;
  std::string text;   // of a scalar
  int64_t count = 0;  // entries of a list or object
};

struct JsonRow {
  // Values by dotted path; containers are listed too.
  std::map<std::string, JsonValue, std::less<>> values;
  std::vector<std::string> names;  // top-level fields, as written

  const JsonValue* find(std::string_view path) const;
};

std::variant<JsonRow, RowFault> parse_json_row(std::string_view line);

// What may weigh in a loss: a finite number of at least 0.
bool is_weight(double value);

// `text` without `suffix`, where it ends with it.
std::string without_suffix(std::string text, std::string_view suffix);

}  // namespace continuo
