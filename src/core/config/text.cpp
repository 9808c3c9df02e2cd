#include "core/config/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "core/utf8.h"

namespace continuo {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return out;
}

std::string_view without_plus(std::string_view text) {
  return text.size() > 1 && text[0] == '+' && text[1] != '-' ? text.substr(1) : text;
}

template <class T>
bool parse_all(std::string_view text, T& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// Words that YAML readers take for something else than a string.
bool is_reserved(std::string_view text) {
  static constexpr std::array<std::string_view, 11> kWords{
      "null", "true", "false", "yes", "no", "on", "off", "nan", "inf", "y", "n"};
  std::string word = lower(text);
  return std::find(kWords.begin(), kWords.end(), word) != kWords.end();
}

bool is_plain_safe(std::string_view text) {
  if (text.empty() || text.size() > 100 || is_reserved(text)) return false;
  if (text[0] != '_' && text[0] != '/' && kLetters.find(text[0]) == std::string_view::npos)
    return false;
  if (text.back() == ' ') return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return kLetters.find(c) != std::string_view::npos || (c >= '0' && c <= '9') ||
           std::string_view("_-./+ ").find(c) != std::string_view::npos;
  });
}

// Control characters, and the line breaks and byte-order marks of Unicode, which YAML does not keep
// raw.
bool needs_escape(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0xFEFF ||
         c == 0xFFFE || c == 0xFFFF;
}

char32_t code_point(std::string_view bytes) {
  auto lead = static_cast<uint8_t>(bytes[0]);
  if (bytes.size() == 1) return lead;
  char32_t c = lead & (0x7F >> bytes.size());
  for (char byte : bytes.substr(1)) c = c << 6 | (static_cast<uint8_t>(byte) & 0x3F);
  return c;
}

std::string in_double_quotes(std::string_view text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    size_t length = utf8_step(text.substr(i)).length;
    std::string_view bytes = text.substr(i, length);
    char32_t c = code_point(bytes);
    i += length;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += bytes;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (needs_escape(c)) {
      out += c < 0x100 ? fmt::format("\\x{:02x}", static_cast<unsigned>(c))
                       : fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += bytes;
    }
  }
  return out + '"';
}

}  // namespace

std::optional<int64_t> parse_integer(std::string_view text) {
  text = without_plus(text);
  int64_t integer = 0;
  if (parse_all(text, integer)) return integer;
  if (text.find_first_of("eE") == std::string_view::npos) return std::nullopt;
  double real = 0;
  if (!parse_all(text, real) || real != std::floor(real)) return std::nullopt;
  if (real < -0x1p63 || real >= 0x1p63) return std::nullopt;
  return static_cast<int64_t>(real);
}

std::optional<double> parse_real(std::string_view text) {
  text = without_plus(text);
  bool negative = !text.empty() && text[0] == '-';
  std::string word = lower(negative ? text.substr(1) : text);
  if (word == "inf" || word == ".inf") {
    return negative ? -std::numeric_limits<double>::infinity()
                    : std::numeric_limits<double>::infinity();
  }
  double value = 0;
  if (!parse_all(text, value) || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<bool> parse_bool(std::string_view text) {
  std::string word = lower(text);
  if (word == "true") return true;
  if (word == "false") return false;
  return std::nullopt;
}

bool is_null(std::string_view text) { return text.empty() || text == "~" || lower(text) == "null"; }

std::string spell_real(double value) {
  if (std::isinf(value)) return value < 0 ? "-.inf" : ".inf";
  return fmt::format("{}", value);
}

std::string spell_string(std::string_view text) {
  return is_plain_safe(text) ? std::string(text) : in_double_quotes(text);
}

std::string spell_scalar(const ConfigNode& node) {
  if (node.kind == ConfigNode::Kind::kNull) return "null";
  // What was written plain stays plain where it could be a number or a truth value.
  bool typed = parse_real(node.scalar) || parse_bool(node.scalar);
  return !node.quoted && typed ? node.scalar : spell_string(node.scalar);
}

std::string spell_range(Range range) {
  bool low = std::isfinite(range.low), high = std::isfinite(range.high);
  if (low && high) {
    return fmt::format("in {}{}, {}]", range.open_low ? "(" : "[", spell_real(range.low),
                       spell_real(range.high));
  }
  if (low) return fmt::format("{} {}", range.open_low ? ">" : "≥", spell_real(range.low));
  if (high) return fmt::format("≤ {}", spell_real(range.high));
  return {};
}

std::string describe(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      return "nothing";
    case ConfigNode::Kind::kList:
      return "a list";
    case ConfigNode::Kind::kMap:
      return "a map";
    case ConfigNode::Kind::kScalar:
      break;
  }
  constexpr size_t kShown = 60;
  std::string text = node.scalar.substr(0, kShown);
  text.resize(complete_utf8_length(text));
  if (text.size() < node.scalar.size()) text += "…";
  return node.quoted ? "the string " + in_double_quotes(text) : text;
}

std::string join_key(std::string_view prefix, std::string_view key) {
  bool plain = !key.empty() && key.find_first_of(".\"=") == std::string_view::npos;
  std::string last = plain ? std::string(key) : fmt::format("\"{}\"", key);
  return prefix.empty() ? last : fmt::format("{}.{}", prefix, last);
}

std::optional<std::vector<std::string>> split_key(std::string_view key) {
  std::vector<std::string> parts;
  while (true) {
    if (key.starts_with('"')) {
      size_t close = key.find('"', 1);
      if (close == std::string_view::npos) return std::nullopt;
      parts.emplace_back(key.substr(1, close - 1));
      key.remove_prefix(close + 1);
    } else {
      size_t end = std::min(key.find('.'), key.size());
      if (end == 0) return std::nullopt;
      parts.emplace_back(key.substr(0, end));
      key.remove_prefix(end);
    }
    if (key.empty()) return parts;
    if (key[0] != '.') return std::nullopt;
    key.remove_prefix(1);
  }
}

std::optional<size_t> parse_index(std::string_view key) {
  size_t index = 0;
  if (key.size() > 1 && key[0] == '0') return std::nullopt;
  return parse_all(key, index) ? std::optional(index) : std::nullopt;
}

const ConfigNode* child_of(const ConfigNode& node, std::string_view key) {
  if (node.kind != ConfigNode::Kind::kList) return node.find(key);
  auto index = parse_index(key);
  return index && *index < node.items.size() ? &node.items[*index] : nullptr;
}

}  // namespace continuo
