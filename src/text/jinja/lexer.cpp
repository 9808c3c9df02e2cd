#include "text/jinja/lexer.h"

#include <algorithm>
#include <cctype>

#include "text/jinja/text.h"

namespace continuo::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// "\r\n" and "\r" are line ends too; one at the end of the source is not part of it.
std::string normal_lines(std::string_view source) {
  std::string text;
  for (size_t at = 0; at < source.size(); ++at) {
    if (source[at] == '\r') {
      if (at + 1 < source.size() && source[at + 1] == '\n') ++at;
      text += '\n';
    } else {
      text += source[at];
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name)
      : source_(normal_lines(source)), text_(source_), name_(name) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) {
      const size_t tag = next_tag();
      data(tag);
      if (tag == text_.size()) break;
      const char kind = text_[tag + 1];
      at_ = tag + 2;
      if (at_ < text_.size() && (text_[at_] == '-' || text_[at_] == '+')) ++at_;
      if (kind == '#') {
        comment(tag);
      } else if (kind == '{') {
        inside(tag, TokenKind::kOutput, TokenKind::kOutputEnd, "}}");
      } else if (!raw()) {
        inside(tag, TokenKind::kBlock, TokenKind::kBlockEnd, "%}");
      }
    }
    add(TokenKind::kEnd, {}, text_.size());
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fault(size_t at, const std::string& message, const std::string& hint = {}) {
    throw Error(place_of(at).in(name_), message, hint);
  }
  // Called for ascending offsets, apart from faults.
  Place place_of(size_t at) {
    if (at < counted_) {
      counted_ = 0;
      place_ = {};
    }
    for (; counted_ < at; ++counted_) {
      const auto byte = static_cast<unsigned char>(text_[counted_]);
      if (byte == '\n') {
        place_ = {.line = place_.line + 1, .column = 1};
      } else if ((byte & 0xC0) != 0x80) {
        ++place_.column;
      }
    }
    return place_;
  }
  void add(TokenKind kind, std::string text, size_t at) {
    tokens_.push_back({kind, std::move(text), place_of(at)});
  }

  size_t next_tag() const {
    for (size_t at = text_.find('{', at_); at != std::string_view::npos && at + 1 < text_.size();
         at = text_.find('{', at + 1)) {
      const char c = text_[at + 1];
      if (c == '{' || c == '%' || c == '#') return at;
    }
    return text_.size();
  }

  // The text up to a tag, less what the tag strips on its left.
  void data(size_t tag) {
    std::string_view text = text_.substr(at_, tag - at_);
    if (tag < text_.size()) {
      const char sign = tag + 2 < text_.size() ? text_[tag + 2] : ' ';
      if (sign == '-') {
        text = text.substr(0, strip_bounds(text, false, true, nullptr).end);
      } else if (sign != '+' && text_[tag + 1] != '{') {
        const size_t newline = text.rfind('\n');
        const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
        const bool blank =
            strip_bounds(text.substr(line), true, false, nullptr).begin == text.size() - line;
        if ((line > 0 || line_starting_) && blank) text = text.substr(0, line);
      }
    }
    if (!text.empty()) add(TokenKind::kData, std::string(text), at_);
  }

  // Behind the end of a tag whose sign is `sign`.
  void leave(char sign, bool block) {
    const size_t begin = at_;
    if (sign == '-') {
      at_ += strip_bounds(text_.substr(at_), true, false, nullptr).begin;
    } else if (block && sign != '+' && at_ < text_.size() && text_[at_] == '\n') {
      ++at_;
    }
    line_starting_ = at_ > begin && text_[at_ - 1] == '\n';
  }

  void comment(size_t tag) {
    const size_t end = text_.find("#}", at_);
    if (end == std::string_view::npos)
      fault(tag, "the comment '{#' is not closed", "end it with #}");
    const char sign = end > at_ ? text_[end - 1] : ' ';
    at_ = end + 2;
    leave(sign, true);
  }

  void skip_space(size_t& at) const {
    while (at < text_.size() && std::isspace(static_cast<unsigned char>(text_[at]))) ++at;
  }
  // "name", then the end of its tag, at `at`, which moves behind it; `sign` is that of the end.
  bool tag_named(size_t& at, std::string_view name, char& sign) const {
    size_t pos = at;
    skip_space(pos);
    if (!text_.substr(pos).starts_with(name)) return false;
    pos += name.size();
    skip_space(pos);
    sign = ' ';
    if (pos < text_.size() && (text_[pos] == '-' || text_[pos] == '+')) sign = text_[pos++];
    if (!text_.substr(pos).starts_with("%}")) return false;
    at = pos + 2;
    return true;
  }

  bool raw() {
    char sign = ' ';
    const size_t tag = at_;
    if (!tag_named(at_, "raw", sign)) return false;
    leave(sign, false);
    for (size_t end = text_.find("{%", at_); end != std::string_view::npos;
         end = text_.find("{%", end + 2)) {
      size_t after = end + 2;
      if (after < text_.size() && (text_[after] == '-' || text_[after] == '+')) ++after;
      if (!tag_named(after, "endraw", sign)) continue;
      data(end);
      at_ = after;
      leave(sign, true);
      return true;
    }
    fault(tag, "{% raw %} has no {% endraw %}");
  }

  void inside(size_t tag, TokenKind begin, TokenKind end, std::string_view close) {
    add(begin, {}, tag);
    std::string brackets;
    while (true) {
      skip_space(at_);
      if (at_ >= text_.size()) {
        fault(tag, fmt::format("'{}' is not closed", text_.substr(tag, 2)),
              fmt::format("end it with {}", close));
      }
      if (brackets.empty()) {
        const bool sign = text_[at_] == '-' || (begin == TokenKind::kBlock && text_[at_] == '+');
        if (text_.substr(at_ + (sign ? 1 : 0)).starts_with(close)) {
          add(end, {}, at_);
          const char with = sign ? text_[at_] : ' ';
          at_ += close.size() + (sign ? 1 : 0);
          leave(with, begin == TokenKind::kBlock);
          return;
        }
      }
      token(brackets);
    }
  }

  void token(std::string& brackets) {
    const size_t begin = at_;
    const char c = text_[at_];
    if (c == '\'' || c == '"') {
      string(c);
    } else if (is_digit(c)) {
      number();
    } else if (is_name_char(c)) {
      while (at_ < text_.size() && is_name_char(text_[at_])) ++at_;
      add(TokenKind::kName, std::string(text_.substr(begin, at_ - begin)), begin);
    } else {
      op(brackets);
    }
  }

  void number() {
    const size_t begin = at_;
    const auto digits = [&] {
      while (at_ < text_.size() && (is_digit(text_[at_]) || text_[at_] == '_')) ++at_;
    };
    const auto digit_at = [&](size_t at) { return at < text_.size() && is_digit(text_[at]); };
    digits();
    bool real = false;
    if (at_ < text_.size() && text_[at_] == '.' && digit_at(at_ + 1)) {
      real = true;
      ++at_;
      digits();
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      const bool sign = at_ + 1 < text_.size() && (text_[at_ + 1] == '-' || text_[at_ + 1] == '+');
      if (digit_at(at_ + 1 + (sign ? 1 : 0))) {
        real = true;
        at_ += sign ? 2 : 1;
        digits();
      }
    }
    std::string spelling(text_.substr(begin, at_ - begin));
    std::erase(spelling, '_');
    add(real ? TokenKind::kFloat : TokenKind::kInteger, std::move(spelling), begin);
  }

  void op(std::string& brackets) {
    static constexpr std::string_view kOperators[] = {
        "**", "//", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "(",
        ")",  "[",  "]",  "{",  "}",  "<",  ">", "=", "|", ".", ",", ":", ";"};
    for (std::string_view each : kOperators) {
      if (!text_.substr(at_).starts_with(each)) continue;
      if (each == "(" || each == "[" || each == "{") brackets += each == "(" ? ')' : each[0] + 2;
      if (each == ")" || each == "]" || each == "}") {
        if (brackets.empty()) fault(at_, fmt::format("'{}' closes nothing", each));
        if (brackets.back() != each[0]) {
          fault(at_, fmt::format("'{}' where '{}' was expected", each, brackets.back()));
        }
        brackets.pop_back();
      }
      add(TokenKind::kOperator, std::string(each), at_);
      at_ += each.size();
      return;
    }
    fault(at_, fmt::format("unexpected character '{}'", text_[at_]));
  }

  void string(char quote) {
    const size_t begin = at_++;
    std::string value;
    while (true) {
      if (at_ >= text_.size()) fault(begin, "a string is not closed");
      const char c = text_[at_++];
      if (c == quote) break;
      if (c != '\\') {
        value += c;
      } else if (at_ < text_.size()) {
        escape(value, begin);
      }
    }
    add(TokenKind::kString, std::move(value), begin);
  }

  // As Python reads it.
  void escape(std::string& value, size_t begin) {
    const char c = text_[at_++];
    static constexpr std::string_view kNames = "ntrbfav0\\'\"",
                                      kValues("\n\t\r\b\f\a\v\0\\'\"", 11);
    if (const size_t known = kNames.find(c); known != std::string_view::npos) {
      value += kValues[known];
      return;
    }
    if (c == '\n') return;
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {
      value += {'\\', c};
      return;
    }
    uint32_t code = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      const bool hex = at_ < text_.size() && std::isxdigit(static_cast<unsigned char>(text_[at_]));
      if (!hex) fault(begin, fmt::format("\\{} needs {} hexadecimal digits", c, digits));
      const char d = text_[at_];
      code = code << 4 | static_cast<uint32_t>(is_digit(d) ? d - '0' : (d | 0x20) - 'a' + 10);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      fault(begin, fmt::format("U+{:04X} is no character", code));
    }
    append_code_point(code, value);
  }

  std::string source_;
  std::string_view text_;
  std::string name_;
  std::vector<Token> tokens_;
  size_t at_ = 0, counted_ = 0;
  Place place_;  // of counted_
  bool line_starting_ = true;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& name) {
  constexpr size_t kLongest = size_t{1} << 20;
  if (source.size() > kLongest) {
    throw Error(Location{.file = name}, fmt::format("a template of {} bytes", source.size()),
                "it may have 1 MiB");
  }
  return Lexer(source, name).run();
}

}  // namespace continuo::jinja
