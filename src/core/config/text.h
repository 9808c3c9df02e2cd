// How single YAML values are spelled: numbers in, quoted strings out. For the files of the config
// system.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/config/config.h"

namespace continuo {

// "12", "-3", "1e6" (integral, within int64). Nothing otherwise.
std::optional<int64_t> parse_integer(std::string_view text);
// Any integer or decimal, "inf" and ".inf" with an optional sign. Not NaN, nothing outside the
// range of double.
std::optional<double> parse_real(std::string_view text);
std::optional<bool> parse_bool(std::string_view text);
bool is_null(std::string_view text);  // "", "~", "null"

std::string spell_real(double value);  // shortest text that parse_real reads back exactly
std::string spell_string(std::string_view text);  // plain where that is safe, else in double quotes
std::string spell_scalar(const ConfigNode& node);
std::string spell_range(Range range);  // "> 0", "in [0, 1]", "" when there is no limit

// What stands there, for "expected a number, found …".
std::string describe(const ConfigNode& node);

// "a.b" from "a" and "b"; keys with dots or quotes in them are quoted as overrides want them.
std::string join_key(std::string_view prefix, std::string_view key);
// Splits a dotted key; nothing when it is malformed (empty part, open quote).
std::optional<std::vector<std::string>> split_key(std::string_view dotted_key);

// "0", "12": an index into a list.
std::optional<size_t> parse_index(std::string_view key);
// One step down: a map's value or a list's item; nullptr when there is none.
const ConfigNode* child_of(const ConfigNode& node, std::string_view key);

}  // namespace continuo
