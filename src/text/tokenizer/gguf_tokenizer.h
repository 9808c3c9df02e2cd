// The tokenizer that a GGUF file carries in its metadata, as a Tokenizer. Takes plain vectors:
// knows nothing about the file.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace continuo {

struct GgufVocabulary {
  std::string model;                // tokenizer.ggml.model: "gpt2" or "llama"
  std::string pre;                  // tokenizer.ggml.pre: "llama-bpe", "qwen2", …; of gpt2 only
  std::vector<std::string> tokens;  // by id
  std::vector<std::string> merges;  // "a b" by rank; gpt2 only
  std::vector<float> scores;        // by id; llama only
  // By id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. Empty: all normal.
  std::vector<int32_t> types;
  std::optional<TokenId> bos = {}, eos = {}, pad = {}, unknown = {};
  bool add_space_prefix = true;      // of llama
  std::optional<bool> add_bos = {};  // tokenizer.ggml.add_bos_token; absent: llama.cpp's default
};

// Special are control and unknown tokens and those named. `save` writes a tokenizer.json that
// transformers reads. Error: a model or pre-tokenizer that is not supported, lists that do not fit
// together; `name` is the file. `read` is called again when the tokenizer is saved.
std::shared_ptr<const Tokenizer> make_gguf_tokenizer(std::function<GgufVocabulary()> read,
                                                     const std::string& name);
inline std::shared_ptr<const Tokenizer> make_gguf_tokenizer(GgufVocabulary vocabulary,
                                                            const std::string& name) {
  return make_gguf_tokenizer([v = std::move(vocabulary)] { return v; }, name);
}

// llama.cpp's name for the steps before BPE in a tokenizer.json ("smollm"); nothing when it has
// none.
std::optional<std::string> gguf_pre_tokenizer(const std::string& tokenizer_json);

// The other way round: what a GGUF file says of `tokenizer`. Error: a kind that llama.cpp does not
// have (unigram, a pre-tokenizer without a name there).
GgufVocabulary gguf_vocabulary(const Tokenizer& tokenizer);

}  // namespace continuo
