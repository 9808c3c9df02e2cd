// Finds the tokens that a tokenizer.json adds to its model ("<|im_end|>") in text, as Hugging
// Face's tokenizers do: leftmost, longest, before the text is cut into words.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace continuo {

struct AddedToken {
  std::string text;
  TokenId id = 0;
  bool special = false;
  bool single_word = false;  // not beside a letter or digit
  bool lstrip = false;       // takes the white space on its left along
  bool rstrip = false;
  bool normalized = false;  // looked for in normalised text
};

class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  // Of equal texts the first counts. No text may be empty.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  struct Piece {
    std::string_view text;
    std::optional<TokenId> id;  // none: text between tokens
  };
  // The pieces of `text` in order, none of them empty text. Without `specials` the text of a
  // special token stays text.
  std::vector<Piece> split(std::string_view text, bool specials) const;

 private:
  const AddedToken* longest_at(std::string_view text, size_t at) const;

  std::vector<AddedToken> tokens_;  // by text
  std::vector<bool> starts_;        // by first byte
};

}  // namespace continuo
