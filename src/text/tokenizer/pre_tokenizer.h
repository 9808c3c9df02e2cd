// The pre-tokenizer of a tokenizer.json: cuts normalised text into the words that the model encodes
// one by one.
#pragma once

#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/tokenizer/json_field.h"
#include "text/tokenizer/regex.h"

namespace continuo {

class PreTokenizer {
 public:
  PreTokenizer() = default;  // a text is one word
  // Error: a kind that is not supported, ByteLevel elsewhere than at the end.
  explicit PreTokenizer(const JsonField& field);

  // Views into the text or into `owned`.
  struct Words {
    std::vector<std::string_view> words;
    std::list<std::string> owned;
    std::vector<std::string_view> scratch;
  };
  // Where a text stands: `opening` with the prefixes of words, `first` at the start of the document
  // (the prefix that only the first word gets).
  struct Place {
    bool opening = true, first = true;
  };
  // Replaces what `result` held. `text` must be well-formed UTF-8 and outlive the words.
  void split(std::string_view text, Place place, Words& result) const;

  bool byte_level() const { return byte_level_; }
  bool adds_prefix() const { return adds_prefix_; }
  const std::string& space_sign() const { return space_sign_; }  // of Metaspace
  const std::string& description() const { return description_; }

 private:
  enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
  enum class Prefix { kNever, kFirst, kAlways };
  struct Split {
    Regex pattern;
    Behavior behavior;
    bool invert;
  };
  struct Digits {
    bool individual;
  };
  struct Metaspace {
    std::string sign;
    Prefix prefix;
    bool split;
  };
  struct ByteLevel {
    bool prefix;
    std::optional<Regex> pattern;
  };
  struct Piece {
    size_t begin, end;
    bool match;
  };

  void read(const JsonField& step, const std::string& type);
  void apply(const Split& step, std::string_view word, Place place, Words& result) const;
  void apply(const Digits& step, std::string_view word, Place place, Words& result) const;
  void apply(const Metaspace& step, std::string_view word, Place place, Words& result) const;
  void apply(const ByteLevel& step, std::string_view word, Place place, Words& result) const;
  static std::vector<Piece> pieces_of(const Regex& pattern, std::string_view word);
  static void emit(std::string_view word, const std::vector<Piece>& pieces, Behavior behavior,
                   Words& result);

  std::vector<std::variant<Split, Digits, Metaspace, ByteLevel>> steps_;
  bool byte_level_ = false, adds_prefix_ = false;
  std::string space_sign_, description_;
};

}  // namespace continuo
