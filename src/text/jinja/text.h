// A string that knows where each of its bytes came from: the template, or the content of a message.
// What a template makes of a content (a slice, a replacement, JSON) keeps the origin, so that text
// of a user can never pass for the template's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace continuo::jinja {

inline constexpr int32_t kTemplate = -1;  // an origin; a message has its index

class Text {
 public:
  Text() = default;
  explicit Text(std::string bytes, int32_t origin = kTemplate);

  const std::string& bytes() const { return bytes_; }
  std::string_view view() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  // A stretch of one kind; `end` is its last byte's successor.
  struct Run {
    size_t end = 0;
    int32_t origin = kTemplate;
    bool generated = false;  // written inside {% generation %}
  };
  // In order, none empty, neighbours of different kind.
  const std::vector<Run>& runs() const { return runs_; }
  int32_t origin(size_t at) const;

  void append(const Text& other) { append(other, 0, other.size()); }
  void append(const Text& other, size_t begin, size_t end);
  void append(std::string_view bytes, int32_t origin, bool generated = false);
  Text slice(size_t begin, size_t end) const;
  // Everything from `begin` on was written inside {% generation %}.
  void mark_generated(size_t begin);

 private:
  std::string bytes_;
  std::vector<Run> runs_;
};

// What Python's str.strip() takes for white space.
bool is_space(uint32_t code_point);
// The code point at `at` (U+FFFD and one byte where the text is ill-formed) and its length.
struct CodePointAt {
  uint32_t code_point = 0;
  size_t length = 1;
};
CodePointAt code_point_at(std::string_view text, size_t at);
void append_code_point(uint32_t code_point, std::string& text);
// Byte offsets where code points begin, and the text's size at the end.
std::vector<size_t> code_point_offsets(std::string_view text);
// Bounds of `text` without white space (or without the code points of `chars`) on the sides asked.
struct Bounds {
  size_t begin = 0, end = 0;
};
Bounds strip_bounds(std::string_view text, bool left, bool right, const std::string* chars);

}  // namespace continuo::jinja
