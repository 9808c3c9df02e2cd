#include "core/utf8.h"

#include <algorithm>
#include <cstdint>

namespace continuo {

// Table 3-7 of the Unicode standard: only the second byte has a range that depends on the first.
Utf8Step utf8_step(std::string_view bytes) {
  using Kind = Utf8Step::Kind;
  auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  uint8_t first = at(0);
  if (first < 0x80) return {Kind::kComplete, 1};
  if (first < 0xC2 || first > 0xF4) return {Kind::kInvalid, 1};
  size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {Kind::kIncomplete, i};
    if (at(i) < low || at(i) > high) return {Kind::kInvalid, i};
    low = 0x80, high = 0xBF;
  }
  return {Kind::kComplete, length};
}

std::optional<size_t> find_invalid_utf8(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    Utf8Step step = utf8_step(bytes.substr(i));
    if (step.kind != Utf8Step::Kind::kComplete) return i;
    i += step.length;
  }
  return std::nullopt;
}

size_t complete_utf8_length(std::string_view bytes) {
  // An incomplete code point is at most three bytes long.
  for (size_t back = 1; back <= std::min<size_t>(3, bytes.size()); ++back) {
    uint8_t byte = static_cast<uint8_t>(bytes[bytes.size() - back]);
    if (byte < 0x80) break;
    if (byte < 0xC0) continue;
    bool incomplete =
        utf8_step(bytes.substr(bytes.size() - back)).kind == Utf8Step::Kind::kIncomplete;
    return incomplete ? bytes.size() - back : bytes.size();
  }
  return bytes.size();
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    Utf8Step step = utf8_step(bytes.substr(i));
    if (step.kind == Utf8Step::Kind::kComplete) {
      out += bytes.substr(i, step.length);
    } else {
      out += "\uFFFD";
    }
    i += step.length;
  }
  return out;
}

}  // namespace continuo
