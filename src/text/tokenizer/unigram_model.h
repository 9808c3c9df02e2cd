// The unigram language model of a tokenizer.json: the segmentation of a word with the greatest sum
// of scores (Kudo 2018, arXiv:1804.10959).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/flat_maps.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {

struct UnigramVocabulary {
  std::vector<std::string> symbols;  // by id, empty for tokens that text never gives
  std::vector<double> scores;        // by id
  std::optional<TokenId> unknown = {};
  std::vector<TokenId> byte_ids = {};  // [256] for unknown characters; -1 or empty: none
};

class UnigramModel {
 public:
  explicit UnigramModel(UnigramVocabulary vocabulary);

  // Appends the ids of a word (UTF-8). A run of unknown characters is one unknown id, or the ids of
  // its bytes. Thread-safe. Error: an unknown character and no unknown token.
  void encode(std::string_view word, std::vector<TokenId>& ids) const;
  std::optional<TokenId> byte_id(uint8_t byte) const;

 private:
  struct Node {
    double score = 0;
    size_t begin = 0;
    TokenId id = -1;  // -1: no way leads here
  };
  void append_unknown(std::string_view text, std::vector<TokenId>& ids) const;

  UnigramVocabulary vocabulary_;
  PairMap trie_;               // node and byte → next node
  std::vector<TokenId> ends_;  // by node: the token that ends there, or -1
  double unknown_score_ = 0;
};

}  // namespace continuo
