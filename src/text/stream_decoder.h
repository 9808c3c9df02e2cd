// Token ids one at a time → text, only at code-point boundaries.
#pragma once

#include <string>

#include "text/tokenizer.h"

namespace continuo {

class StreamDecoder {
 public:
  // `continues`: the ids follow a prompt, so no dummy-prefix space is stripped.
  StreamDecoder(const Tokenizer& tokenizer, bool continues);

  // The text that became complete with this token (valid UTF-8, possibly empty).
  std::string push(TokenId id);
  // What is left: an incomplete tail becomes one U+FFFD.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool strip_space_;
  std::string pending_;
};

}  // namespace continuo
