// Trains a SentencePiece model. The same configuration and the same files give the same bytes.
// Spaces, line breaks and every other character are kept as they are: nothing is normalised, so
// text round-trips.
#pragma once

#include <functional>
#include <string>

#include "text/tokenizer/tokenizer_train_config.h"

namespace continuo {

// The content of tokenizer.model. `on_read` hears how many bytes of input were read; reading ends
// before learning begins. Error: inputs that cannot be read (file:line) or hold no text, a
// vocabulary too large or too small for them.
std::string train_sentencepiece(const TokenizerTrainConfig& config,
                                const std::function<void(int64_t bytes)>& on_read = {});

}  // namespace continuo
