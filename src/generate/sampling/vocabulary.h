// What sampling and stopping must know of a vocabulary, without knowing text. Filled in by whoever
// has a tokenizer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace continuo {

using TokenId = int32_t;

struct Vocabulary {
  int64_t size = 0;
  std::vector<TokenId> eos;       // all ids that end a sequence
  std::vector<TokenId> specials;  // ids that stand for no text (BOS, roles, EOS, …)
  // The visible bytes that one token adds inside a document; empty for specials.
  std::function<std::string(TokenId)> token_bytes;
  // How a special token is spelled ("<|im_end|>"), for stop strings; empty for all other tokens.
  std::function<std::string(TokenId)> special_text;
  // Ids of a text that continues a document: no dummy prefix, no specials. For banned words and
  // biases given as text.
  std::function<std::vector<TokenId>(std::string_view)> encode;

  bool is_eos(TokenId id) const { return std::find(eos.begin(), eos.end(), id) != eos.end(); }
  bool is_special(TokenId id) const {
    return is_eos(id) || std::find(specials.begin(), specials.end(), id) != specials.end();
  }
};

}  // namespace continuo
