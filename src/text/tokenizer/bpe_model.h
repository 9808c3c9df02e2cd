// Byte-pair encoding of one word: symbols (bytes or characters) → merges by rank, leftmost first →
// ids. Knows nothing about how text is cut into words, nor about special tokens.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/flat_maps.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {

struct BpeVocabulary {
  struct Merge {
    TokenId left = 0, right = 0, merged = 0;
  };

  // By id: what the token spells inside a word, empty for tokens that text never gives.
  std::vector<std::string> symbols;
  std::vector<Merge> merges;            // by rank; the last of equal pairs counts
  bool byte_symbols = false;            // words start out as bytes, else as UTF-8 characters
  std::vector<TokenId> byte_ids = {};   // [256] for characters without a token; -1 or empty: none
  bool fuse_unknown = false;            // one unknown id for a run of unknown characters
  bool ignore_merges = false;           // a word that is a token is that token
  std::optional<TokenId> unknown = {};  // without it an unknown symbol gives no id
  std::string space_sign = "";          // words may be cut before it where no merge crosses
};

class BpeModel {
 public:
  explicit BpeModel(BpeVocabulary vocabulary);

  // Appends the ids of a word (UTF-8, or any bytes where symbols are bytes). Thread-safe.
  void encode(std::string_view word, std::vector<TokenId>& ids) const;
  // The id of one byte as it stands alone; nothing when the vocabulary has none.
  std::optional<TokenId> byte_id(uint8_t byte) const;

 private:
  void encode_part(std::string_view word, std::vector<TokenId>& ids) const;
  void append_symbols(std::string_view word, std::vector<TokenId>& ids) const;
  void merge(std::vector<TokenId>& ids, size_t begin) const;
  void merge_few(std::vector<TokenId>& ids, size_t begin) const;
  void merge_many(std::vector<TokenId>& ids, size_t begin) const;
  bool merges_cross_sign() const;
  bool is_looked_up(const std::string& symbol) const;
  std::optional<TokenId> look_up(std::string_view symbol) const;

  BpeVocabulary vocabulary_;            // without symbols and merges
  std::vector<std::string> looked_up_;  // symbols that are asked for by their text
  std::vector<TokenId> looked_up_ids_;
  StringIndex index_;  // of these
  PairMap merges_;
  std::array<TokenId, 256> single_;  // ids of one-byte symbols, -1: none
  bool cut_at_sign_ = false;
  uint32_t number_;  // of this model among all, for the word cache
};

}  // namespace continuo
