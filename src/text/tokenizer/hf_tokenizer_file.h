// A tokenizer.json taken apart and checked: vocabulary, merges or scores, added tokens and the
// steps that text goes through. Knows nothing about tokenizer_config.json.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/bpe_model.h"
#include "text/tokenizer/hf_tokenizer_document.h"
#include "text/tokenizer/normalizer.h"
#include "text/tokenizer/pre_tokenizer.h"

namespace continuo {

struct HfTokenizerFile {
  enum class Model { kBpe, kUnigram };

  Model model = Model::kBpe;
  std::vector<std::string> pieces;           // by id, those of the model
  StringIndex index;                         // of them
  std::vector<BpeVocabulary::Merge> merges;  // BPE
  std::vector<double> scores;                // unigram, by id
  bool byte_fallback = false, fuse_unknown = false, ignore_merges = false;
  std::optional<TokenId> unknown;
  std::vector<AddedToken> added;  // by id; those past `pieces` continue it
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::string space_sign;    // what spaces become before the model, empty: nothing
  bool byte_pieces = false;  // "<0x0A>" decodes to a byte
  // What the post-processor puts around one text. Never applied here.
  std::vector<TokenId> opening, closing;

  // Error with the field: damaged JSON, kinds that are not supported, ids that repeat or leave
  // holes, merges that do not fit the vocabulary.
  static HfTokenizerFile read(HfTokenizerDocument document, const Location& where);
};

}  // namespace continuo
