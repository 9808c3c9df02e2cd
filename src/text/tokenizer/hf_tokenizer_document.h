// tokenizer.json as it is read: the vocabulary and the merges of a BPE model, which are nearly all
// of it, as tables; the rest as a tree. Building the tree of the tables too took longer than
// everything else that a tokenizer needs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/tokenizer/bpe_model.h"

namespace continuo {

struct HfTokenizerDocument {
  struct Piece {
    std::string text;
    uint64_t id = 0;
  };
  struct Merge {
    std::string text;   // both pieces
    size_t left = 0;    // length of the first
    size_t number = 0;  // among the entries of the file
  };

  // Where `model.vocab` is an object and `model.merges` an array, they are empty here.
  nlohmann::json rest;
  std::vector<Piece> pieces;  // of an object `model.vocab`, in the order of the file
  std::vector<Merge> merges;  // of an array `model.merges`
  // Merges that are known by the ids of their pieces, where they are; `merges` is empty then.
  std::vector<BpeVocabulary::Merge> known_merges;
  // The first member of the vocabulary whose value is no id, and that value.
  std::optional<std::pair<std::string, std::string>> no_id;

  // Error: not JSON; an entry of the merges that is not two pieces.
  static HfTokenizerDocument parse(std::string_view json, const Location& where);
  // The entry "a b". Error: it is not two pieces.
  static Merge split_merge(std::string_view text, size_t number, const Location& where);
  // The text that `parse` reads. Pieces stand in the order of their ids.
  std::string dump() const;
};

}  // namespace continuo
