// The normalizer of a tokenizer.json: Unicode normal forms (by Unicode 9, as Hugging Face's
// tokenizers have them), Replace, Prepend. It rewrites text before it is cut into words.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/tokenizer/json_field.h"
#include "text/tokenizer/regex.h"

namespace continuo {

class Normalizer {
 public:
  Normalizer() = default;  // leaves text alone
  // Error: a kind that is not supported.
  explicit Normalizer(const JsonField& field);

  // The text itself, or what it became, kept in `storage`. `opening`: with Prepend. `text` must be
  // well-formed UTF-8. Error: Replace makes it more than 64 times as long (and longer than 1 MiB).
  std::string_view apply(std::string_view text, bool opening, std::string& storage) const;

  bool prepends() const { return prepends_; }
  // What spaces become ("▁"); empty: they stay.
  const std::string& space_sign() const { return space_sign_; }
  // Equal descriptions, equal results.
  const std::string& description() const { return description_; }

 private:
  struct Form {
    int options = 0;  // of utf8proc
  };
  struct Prepend {
    std::string text;
  };
  struct Replace {
    Regex pattern;
    std::string content;
  };

  std::vector<std::variant<Form, Prepend, Replace>> steps_;
  bool prepends_ = false;
  std::string space_sign_, description_;
};

}  // namespace continuo
