#include "core/json.h"

#include <algorithm>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/json_events.h"
#include "core/utf8.h"

namespace continuo {
namespace {

// "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error while …" →
// "syntax error while …".
std::string reason_of(const std::string& text) {
  if (size_t end = text.find("column "); end != std::string::npos) {
    if (size_t colon = text.find(": ", end); colon != std::string::npos)
      return text.substr(colon + 2);
  }
  if (size_t end = text.find("] "); end != std::string::npos) return text.substr(end + 2);
  return text;
}

constexpr int kDeepest = 500;

// Offset of the bracket that nests too deep for what walks a document recursively.
std::optional<size_t> find_too_deep(std::string_view text) {
  int depth = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
      case '"':
        for (++at; at < text.size() && text[at] != '"'; ++at) {
          if (text[at] == '\\') ++at;
        }
        break;
      case '[':
      case '{':
        if (++depth > kDeepest) return at;
        break;
      case ']':
      case '}':
        --depth;
        break;
      default:
        break;
    }
  }
  return {};
}

}  // namespace

Location locate_offset(std::string_view text, size_t offset, const Location& where) {
  std::string_view before = text.substr(0, std::min(offset, text.size()));
  auto newlines = std::count(before.begin(), before.end(), '\n');
  size_t line_start = newlines == 0 ? 0 : before.rfind('\n') + 1;
  auto is_start = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  auto column =
      std::count_if(before.begin() + static_cast<ptrdiff_t>(line_start), before.end(), is_start);
  int first_column = newlines == 0 ? std::max(where.column, 1) : 1;
  return {where.file, std::max(where.line, 1) + static_cast<int>(newlines),
          first_column + static_cast<int>(column)};
}

namespace {

void refuse_too_deep(std::string_view text, const Location& where) {
  if (auto deep = find_too_deep(text)) {
    throw Error(locate_offset(text, *deep, where),
                fmt::format("invalid JSON: nested deeper than {}", kDeepest));
  }
}

// `byte` counts from 1 and names the byte that was read last.
[[noreturn]] void fail_to_parse(std::string_view text, const Location& where, size_t byte,
                                const std::string& what) {
  if (auto invalid = find_invalid_utf8(text)) {
    throw Error(locate_offset(text, *invalid, where), "this is not UTF-8",
                "convert the file to UTF-8");
  }
  const size_t offset = byte > 0 ? byte - 1 : 0;
  throw Error(locate_offset(text, offset, where), "invalid JSON: " + reason_of(what));
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const Location& where) {
  refuse_too_deep(text, where);
  try {
    return nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& error) {
    fail_to_parse(text, where, error.byte, error.what());
  } catch (const nlohmann::json::exception& error) {
    throw Error(where, std::string("invalid JSON: ") + error.what());
  }
}

void parse_json(std::string_view text, const Location& where, JsonEvents& events) {
  refuse_too_deep(text, where);
  events.error_.clear();
  if (nlohmann::json::sax_parse(text.begin(), text.end(), &events)) return;
  fail_to_parse(text, where, events.error_byte_, events.error_);
}

bool JsonEvents::parse_error(std::size_t byte, const std::string&,
                             const nlohmann::detail::exception& error) {
  error_byte_ = byte;
  error_ = error.what();
  return false;
}

nlohmann::json read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path), {path.string()});
}

}  // namespace continuo
