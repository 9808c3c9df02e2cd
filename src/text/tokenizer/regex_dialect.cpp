#include "text/tokenizer/regex_dialect.h"

#include <cctype>
#include <charconv>
#include <vector>

#include "core/error.h"
#include "core/utf8.h"

namespace continuo {
namespace {

// Members of character classes, spelled out because PCRE2's own differ between its versions.
constexpr std::string_view kSpaces =
    "\\t-\\r\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}"
    "\\x{3000}";
constexpr std::string_view kWords =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}\\x{24B6}-\\x{24E9}"
    "\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  std::string run() {
    while (!done()) step();
    if (!groups_.empty()) refuse("an open group");
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(fmt::format("the regular expression has {} (near byte {}), which is not supported",
                            what, at_));
  }

  bool done() const { return at_ == in_.size(); }
  bool next_is(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  char take() {
    if (done()) refuse("an early end");
    return in_[at_++];
  }
  // Starts what a quantifier would repeat.
  void atom() { atom_ = out_.size(); }

  void step() {
    char c = in_[at_];
    switch (c) {
      case '\\':
        atom();
        ++at_;
        escape(false);
        return;
      case '[':
        atom();
        ++at_;
        out_ += '[';
        if (next_is("^")) out_ += take();
        members(0);
        out_ += ']';
        return;
      case '(':
        open_group();
        return;
      case ')':
        if (groups_.empty()) refuse("a closing parenthesis too many");
        atom_ = groups_.back();
        groups_.pop_back();
        out_ += take();
        return;
      case '{':
        interval();
        return;
      case '|':
        atom_ = std::string::npos;
        out_ += take();
        return;
      case '*':
      case '+':
      case '?':
        out_ += take();
        if (!done() && (next_is("?") || next_is("+"))) out_ += take();
        return;
      default:
        atom();
        copy_character();
    }
  }

  void copy_character() {
    size_t length = utf8_step(in_.substr(at_)).length;
    out_ += in_.substr(at_, length);
    at_ += length;
  }

  void open_group() {
    if (groups_.size() > 100) refuse("groups nested too deep");
    size_t begin = out_.size();
    bool opens = begin == 0 || out_.back() == '(' || out_.ends_with("(?:");
    // The reach of a bare (?i) differs unless it opens the pattern or a group.
    for (std::string_view option : {"(?i)", "(?-i)"}) {
      if (!next_is(option)) continue;
      if (!opens) refuse(option);
      out_ += option;
      at_ += option.size();
      return;
    }
    std::string_view opening = "(";
    if (next_is("(?")) {
      opening = {};
      for (std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"}) {
        if (next_is(known)) opening = known;
      }
      if (opening.empty()) refuse(fmt::format("the group '{}'", in_.substr(at_, 4)));
    } else if (next_is("(*")) {
      refuse("'(*'");
    }
    groups_.push_back(begin);
    atom_ = std::string::npos;
    out_ += opening;
    at_ += opening.size();
  }

  // {n}, {n,}, {,m}, {n,m}; anything else is literal.
  void interval() {
    size_t end = in_.find('}', at_);
    std::string_view body =
        end == std::string_view::npos ? std::string_view{} : in_.substr(at_ + 1, end - at_ - 1);
    size_t comma = body.find(',');
    std::string_view low = body.substr(0, comma);
    std::string_view high = comma == std::string_view::npos ? low : body.substr(comma + 1);
    auto digits = [](std::string_view s) {
      for (char c : s) {
        if (!is_digit(c)) return false;
      }
      return s.size() <= 5;
    };
    if (!digits(low) || !digits(high) || (low.empty() && high.empty())) {
      atom();
      out_ += "\\{";
      ++at_;
      return;
    }
    out_ += fmt::format("{{{}{}{}}}", low.empty() ? "0" : low, comma == body.npos ? "" : ",",
                        comma == body.npos ? "" : high);
    at_ = end + 1;
    // In Ruby's syntax these repeat the interval: they make it neither possessive nor lazy.
    bool repeats = next_is("+") || (next_is("?") && comma == std::string_view::npos);
    if (!repeats) {
      if (next_is("?")) out_ += take();
      return;
    }
    if (atom_ == std::string::npos) refuse("a quantifier of nothing");
    out_.insert(atom_, "(?:");
    out_ += ')';
    out_ += take();
  }

  // Behind a backslash.
  void escape(bool in_class) {
    char c = take();
    switch (c) {
      case 's':
      case 'S':
      case 'w':
      case 'W':
      case 'd':
      case 'D':
        return shorthand(c, in_class);
      case 'b':
      case 'B':
        return boundary(c, in_class);
      case 'p':
      case 'P':
        return property(c);
      case 'n':
      case 'r':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        out_ += {'\\', c};
        return;
      case 'A':
      case 'z':
        if (in_class) refuse(fmt::format("\\{} in a character class", c));
        out_ += {'\\', c};
        return;
      case 'v':
        out_ += "\\x0B";
        return;
      case 'x':
      case 'u':
        return code_point(c);
      default:
        return literal(c);
    }
  }

  // \s, \w, \d and their complements.
  void shorthand(char c, bool in_class) {
    auto set = [&](std::string_view members, bool negated) {
      if (in_class && negated) refuse(fmt::format("\\{} in a character class", c));
      out_ += in_class ? std::string(members) : fmt::format("[{}{}]", negated ? "^" : "", members);
    };
    switch (c) {
      case 's':
        return set(kSpaces, false);
      case 'S':
        // PCRE2 counts U+180E as white space.
        if (!in_class) return set(kSpaces, true);
        out_ += "\\S\\x{180E}";
        return;
      case 'w':
        return set(kWords, false);
      case 'W':
        return set(kWords, true);
      default:
        out_ += c == 'd' ? "\\p{Nd}" : "\\P{Nd}";
    }
  }

  // A character that stands for itself behind its backslash.
  void literal(char c) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::isalnum(byte)) refuse(fmt::format("\\{}", c));
    if (byte < 0x80) {
      out_ += {'\\', c};
    } else {
      --at_;
      copy_character();
    }
  }

  void boundary(char c, bool in_class) {
    if (in_class) refuse(fmt::format("\\{} in a character class", c));
    std::string_view both = c == 'b' ? "(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))"
                                     : "(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))";
    out_ += fmt::format(fmt::runtime(both), kWords);
  }

  void property(char c) {
    size_t end = next_is("{") ? in_.find('}', at_) : std::string_view::npos;
    if (end == std::string_view::npos) refuse(fmt::format("\\{} without {{name}}", c));
    std::string_view name = in_.substr(at_ + 1, end - at_ - 1);
    for (char letter : name.substr(name.starts_with('^'))) {
      if (!std::isalnum(static_cast<unsigned char>(letter)) && letter != '_') {
        refuse(fmt::format("the property '{}'", name));
      }
    }
    out_ += fmt::format("\\{}{{{}}}", c, name);
    at_ = end + 1;
  }

  // \x41, \x{1F600}, \u00E9
  void code_point(char c) {
    size_t limit = c == 'u' ? 4 : 2;
    bool braced = c == 'x' && next_is("{");
    if (braced) {
      ++at_;
      limit = 8;
    }
    size_t begin = at_;
    while (!done() && at_ - begin < limit && std::isxdigit(static_cast<unsigned char>(in_[at_])))
      ++at_;
    std::string_view hex = in_.substr(begin, at_ - begin);
    uint32_t value = 0;
    std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
    bool whole = braced ? !done() && take() == '}' && !hex.empty()
                        : (c == 'u' ? hex.size() == 4 : !hex.empty());
    bool in_range = value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF);
    // A lone \xE9 is a byte there, not a character.
    if (!whole || !in_range || (c == 'x' && !braced && value >= 0x80)) {
      refuse(fmt::format("a code point '\\{}{}'", c, hex));
    }
    out_ += fmt::format("\\x{{{:X}}}", value);
  }

  // Up to and including the closing bracket. A class inside is part of the union.
  void members(int depth) {
    if (depth > 20) refuse("classes nested too deep");
    bool first = true;
    for (;; first = false) {
      if (next_is("&&")) refuse("&& in a character class");
      if (next_is("[:")) refuse("a POSIX bracket");
      char c = take();
      if (c == ']' && !first) return;
      if (c == '\\') {
        escape(true);
      } else if (c == '[') {
        if (next_is("^")) refuse("a negated class inside a class");
        members(depth + 1);
      } else if (c == ']') {
        out_ += "\\]";
      } else {
        --at_;
        copy_character();
      }
    }
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = std::string::npos;  // start of what a quantifier repeats, in `out_`
  std::vector<size_t> groups_;
};

}  // namespace

std::string pcre2_pattern(std::string_view pattern) {
  constexpr size_t kLongest = 1 << 16;
  if (pattern.size() > kLongest) {
    throw Error(fmt::format("the regular expression is longer than {} bytes", kLongest));
  }
  if (find_invalid_utf8(pattern)) throw Error("the regular expression is not UTF-8");
  return Translator(pattern).run();
}

}  // namespace continuo
