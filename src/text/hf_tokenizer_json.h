// A unigram model as transformers' tokenizer.json, for its LlamaTokenizer reads every model file as
// BPE.
#pragma once

#include <string>

#include "text/hf_tokenizer_config.h"
#include "text/sentencepiece_model.h"

namespace continuo {

// For unigram models that neither normalise nor remove white space.
std::string hf_unigram_json(const SentencePieceModel& model, const HfTokenizerConfig& config);

}  // namespace continuo
