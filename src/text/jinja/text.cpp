#include "text/jinja/text.h"

#include <algorithm>
#include <utility>

#include "core/utf8.h"

namespace continuo::jinja {

Text::Text(std::string bytes, int32_t origin) : bytes_(std::move(bytes)) {
  if (!bytes_.empty()) runs_.push_back({bytes_.size(), origin});
}

int32_t Text::origin(size_t at) const {
  return std::ranges::upper_bound(runs_, at, {}, &Run::end)->origin;
}

void Text::append(std::string_view bytes, int32_t origin, bool generated) {
  if (bytes.empty()) return;
  bytes_ += bytes;
  if (!runs_.empty() && runs_.back().origin == origin && runs_.back().generated == generated) {
    runs_.back().end = bytes_.size();
  } else {
    runs_.push_back({bytes_.size(), origin, generated});
  }
}

void Text::append(const Text& other, size_t begin, size_t end) {
  if (begin >= end) return;
  auto run = std::ranges::upper_bound(other.runs_, begin, {}, &Run::end);
  for (size_t at = begin; at < end; ++run) {
    const size_t stop = std::min(end, run->end);
    append(other.view().substr(at, stop - at), run->origin, run->generated);
    at = stop;
  }
}

Text Text::slice(size_t begin, size_t end) const {
  Text part;
  part.append(*this, begin, end);
  return part;
}

void Text::mark_generated(size_t begin) {
  const Text whole = std::exchange(*this, slice(0, begin));
  for (const Run& run : whole.runs_) {
    if (run.end > size()) append(whole.view().substr(size(), run.end - size()), run.origin, true);
  }
}

bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

CodePointAt code_point_at(std::string_view text, size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) return {first, 1};
  const Utf8Step step = utf8_step(text.substr(at));
  if (step.kind != Utf8Step::Kind::kComplete) return {0xFFFD, 1};
  uint32_t value = first & (0xFFU >> (step.length + 1));
  for (size_t i = 1; i < step.length; ++i) {
    value = value << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3FU);
  }
  return {value, step.length};
}

void append_code_point(uint32_t c, std::string& text) {
  const auto add = [&](uint32_t byte) { text += static_cast<char>(byte); };
  const auto tail = [&](int shift) { add(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | c >> 6);
    tail(0);
  } else if (c < 0x10000) {
    add(0xE0 | c >> 12);
    tail(6);
    tail(0);
  } else {
    add(0xF0 | c >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

std::vector<size_t> code_point_offsets(std::string_view text) {
  std::vector<size_t> offsets;
  for (size_t at = 0; at < text.size(); at += code_point_at(text, at).length) offsets.push_back(at);
  offsets.push_back(text.size());
  return offsets;
}

Bounds strip_bounds(std::string_view text, bool left, bool right, const std::string* chars) {
  const auto strips = [&](size_t at, size_t length, uint32_t c) {
    return chars ? chars->find(text.substr(at, length)) != std::string::npos : is_space(c);
  };
  Bounds bounds{0, text.size()};
  while (left && bounds.begin < bounds.end) {
    const auto [c, length] = code_point_at(text, bounds.begin);
    if (!strips(bounds.begin, length, c)) break;
    bounds.begin += length;
  }
  while (right && bounds.begin < bounds.end) {
    size_t at = bounds.end - 1;
    const auto continues = [&] { return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80; };
    while (at > bounds.begin && bounds.end - at < 4 && continues()) --at;
    const auto [c, length] = code_point_at(text, at);
    if (at + length != bounds.end) at = bounds.end - 1;
    if (!strips(at, bounds.end - at, at + length == bounds.end ? c : 0xFFFD)) break;
    bounds.end = at;
  }
  return bounds;
}

}  // namespace continuo::jinja
