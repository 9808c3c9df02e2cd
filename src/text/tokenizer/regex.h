// A regular expression over PCRE2 with its JIT, read in the dialect of Hugging Face tokenizers.
// Const and thread-safe. Knows nothing about tokens.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace continuo {

class Regex {
 public:
  // Error (without a place): does not compile, or is not supported.
  explicit Regex(std::string_view pattern);
  // Matches exactly this text.
  static Regex literal(std::string_view text);

  const std::string& pattern() const { return pattern_; }

 private:
  friend class RegexMatches;
  struct Free {
    void operator()(void* code) const;
  };

  std::string pattern_;
  std::unique_ptr<void, Free> code_;
  bool compiled_ = false;  // to machine code
};

// The matches in a text, left to right and not overlapping; an empty match right behind another
// match does not count.
class RegexMatches {
 public:
  // `text`: well-formed UTF-8 that outlives this object.
  RegexMatches(const Regex& regex, std::string_view text);

  struct Match {
    size_t begin = 0, end = 0;
  };
  // Error: the expression takes too long on this text.
  std::optional<Match> next();

 private:
  const Regex& regex_;
  std::string_view text_;
  std::optional<std::string> older_;  // what is matched in place of `text_`
  size_t from_ = 0;
  std::optional<size_t> last_end_;
};

}  // namespace continuo
