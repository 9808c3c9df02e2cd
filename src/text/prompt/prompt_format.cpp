#include "text/prompt/prompt_format.h"

#include <algorithm>
#include <cctype>

#include "core/error.h"

namespace continuo {
namespace {

[[noreturn]] void fault(std::string_view key, std::string_view format, size_t at,
                        std::string_view what) {
  throw Error(fmt::format("{}: {} at character {} of \"{}\"", key, what, at + 1, format),
              "{name} is a field; write {{ and }} for braces");
}

void add_literal(std::string_view text, std::vector<FormatPart>& parts) {
  if (text.empty()) return;
  if (!parts.empty() && parts.back().kind == FormatPart::Kind::kLiteral) {
    parts.back().text += text;
  } else {
    parts.push_back({FormatPart::Kind::kLiteral, std::string(text)});
  }
}

// The longest of `specials` that `text` starts with, or empty.
std::string_view special_at(std::string_view text, std::span<const std::string> specials) {
  std::string_view longest;
  for (const std::string& special : specials) {
    if (text.starts_with(special) && special.size() > longest.size()) longest = special;
  }
  return longest;
}

// "<|name|>" at the start of `text`, or empty.
std::string_view special_form(std::string_view text) {
  if (!text.starts_with("<|")) return {};
  size_t end = 2;
  auto in_name = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
  };
  while (end < text.size() && in_name(text[end])) ++end;
  if (end == 2 || !text.substr(end).starts_with("|>")) return {};
  return text.substr(0, end + 2);
}

void split_specials(const FormatPart& literal, std::span<const std::string> specials,
                    std::string_view key, std::vector<FormatPart>& parts) {
  std::string_view text = literal.text;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    std::string_view special = special_at(text.substr(at), specials);
    if (special.empty()) {
      if (auto form = special_form(text.substr(at)); !form.empty()) {
        throw Error(
            fmt::format("{}: '{}' looks like a special token but is not in `specials`", key, form),
            fmt::format("specials: [\"{}\"], and the tokenizer must have it", form));
      }
      ++at;
      continue;
    }
    add_literal(text.substr(begin, at - begin), parts);
    parts.push_back({FormatPart::Kind::kSpecial, std::string(special)});
    at += special.size();
    begin = at;
  }
  add_literal(text.substr(begin), parts);
}

}  // namespace

std::vector<FormatPart> parse_format(std::string_view format, std::span<const std::string> specials,
                                     std::string_view key) {
  std::vector<FormatPart> raw;
  for (size_t at = 0; at < format.size();) {
    size_t brace = std::min(format.find_first_of("{}", at), format.size());
    add_literal(format.substr(at, brace - at), raw);
    at = brace;
    if (at == format.size()) break;
    if (at + 1 < format.size() && format[at + 1] == format[at]) {
      add_literal(format.substr(at, 1), raw);
      at += 2;
      continue;
    }
    if (format[at] == '}') fault(key, format, at, "'}' closes nothing");
    size_t end = format.find_first_of("{}", at + 1);
    if (end == std::string_view::npos || format[end] == '{')
      fault(key, format, at, "'{' is not closed");
    std::string_view name = format.substr(at + 1, end - at - 1);
    auto in_name = [](char c) { return !std::isspace(static_cast<unsigned char>(c)); };
    if (name.empty() || !std::ranges::all_of(name, in_name)) {
      fault(key, format, at,
            name.empty() ? "a field without a name" : "a field name with white space");
    }
    raw.push_back({FormatPart::Kind::kField, std::string(name)});
    at = end + 1;
  }
  std::vector<FormatPart> parts;
  for (const FormatPart& part : raw) {
    if (part.kind == FormatPart::Kind::kLiteral) {
      split_specials(part, specials, key, parts);
    } else {
      parts.push_back(part);
    }
  }
  return parts;
}

std::vector<std::string> field_names(std::span<const FormatPart> parts) {
  std::vector<std::string> names;
  for (const FormatPart& part : parts) {
    bool is_new = std::ranges::find(names, part.text) == names.end();
    if (part.kind == FormatPart::Kind::kField && is_new) names.push_back(part.text);
  }
  return names;
}

}  // namespace continuo
