// A format string, "<|user|>{question}\n", cut into literals, fields and special tokens.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace continuo {

struct FormatPart {
  enum class Kind { kLiteral, kField, kSpecial };
  Kind kind = Kind::kLiteral;
  std::string text;  // the literal, the field's name or the special's piece

  bool operator==(const FormatPart&) const = default;
};

// "{name}" is a field, "{{" and "}}" are braces; literals that spell one of `specials` (the longest
// first) become specials. Neighbouring literals are one part, and none is empty. `key` names the
// format in errors. Error: unbalanced brace, bad field name, text of the form <|…|> that is not in
// `specials`.
std::vector<FormatPart> parse_format(std::string_view format, std::span<const std::string> specials,
                                     std::string_view key);

// The distinct fields in order of appearance.
std::vector<std::string> field_names(std::span<const FormatPart> parts);

}  // namespace continuo
