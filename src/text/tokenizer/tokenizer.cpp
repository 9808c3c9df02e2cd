#include "text/tokenizer/tokenizer.h"

namespace continuo {

std::string Tokenizer::decode(std::span<const TokenId> ids, bool special) const {
  std::string text;
  // The dummy prefix stands where a document opens: at the start or behind BOS.
  bool opens = has_dummy_prefix();
  for (const TokenId id : ids) {
    if (is_special(id)) {
      opens = opens && id == bos();
      if (special) text += piece(id);
      continue;
    }
    const std::string bytes = token_bytes(id);
    text += std::string_view(bytes).substr(opens && bytes.starts_with(' ') ? 1 : 0);
    opens = false;
  }
  return text;
}

}  // namespace continuo
