// A unigram model as transformers' tokenizer.json, for its LlamaTokenizer reads every model file as
// BPE.
#pragma once

#include <optional>
#include <string>

#include "text/tokenizer/hf_tokenizer_config.h"
#include "text/tokenizer/sentencepiece_model.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {

// For unigram models that neither normalise nor remove white space. `added_bos`: the id that opens
// every text, where one does.
std::string hf_unigram_json(const SentencePieceModel& model, const HfTokenizerConfig& config,
                            std::optional<TokenId> added_bos = {});

}  // namespace continuo
