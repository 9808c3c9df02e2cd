// What a GGUF file holds beside weights: the tokenizer, the chat template and the ids that end a
// sequence.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/gguf.h"
#include "text/tokenizer/gguf_tokenizer.h"

namespace continuo {

// Error naming file and key: a key that is missing or of the wrong type, a tokenizer that is not
// supported.
std::shared_ptr<const Tokenizer> read_gguf_tokenizer(const GgufFile& file);
// Empty when the file has none.
std::string read_gguf_chat_template(const GgufFile& file);
// tokenizer.ggml.eos_token_id and eot_token_id.
std::vector<int64_t> read_gguf_eos_ids(const GgufFile& file);
// Whether the file itself says that texts open with BOS or not.
bool says_add_bos(const GgufFile& file);

// Adds the tokenizer's keys. `rows` is the model's vocabulary: ids beyond the tokenizer's get
// unused entries, as llama.cpp wants one per row.
void add_gguf_tokenizer(const Tokenizer& tokenizer, int64_t rows, const std::string& chat_template,
                        bool adds_bos, GgufMetadata& metadata);

}  // namespace continuo
