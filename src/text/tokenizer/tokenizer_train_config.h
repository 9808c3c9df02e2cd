// What a tokenizer is trained on and how. Knows nothing about the library that does it.
#pragma once

#include <string>
#include <vector>

#include "core/config/config.h"

namespace continuo {

enum class TokenizerModel { kUnigram, kBpe };
std::span<const EnumName> enum_names(TokenizerModel);

struct TokenizerInput {
  std::string path;                 // relative to the YAML file that names it
  std::vector<std::string> fields;  // of JSONL rows: a string, or a list of strings or of turns
                                    // with `content`; none: plain text
};

struct TokenizerTrainConfig {
  std::vector<TokenizerInput> inputs;
  std::string output;  // directory, relative to the working directory
  int64_t vocab_size = 8000;
  TokenizerModel model = TokenizerModel::kUnigram;
  bool byte_fallback = true;
  bool split_digits = true;
  bool add_dummy_prefix = false;
  double character_coverage = 0.9995;
  std::vector<std::string> specials;
  int64_t max_piece_length = 16;
  int64_t max_sentence_length = 4192;
  double sample = 1.0;
  int64_t seed = 0;
  int64_t threads = 4;
};
void fields(FieldVisitor& v, TokenizerInput& c);
void fields(FieldVisitor& v, TokenizerTrainConfig& c);

// Every vocabulary starts with these ids; `specials` follow.
inline constexpr const char* kBaseSpecials[] = {"<unk>", "<s>", "</s>", "<pad>"};

// Checks what one field cannot know alone; faults go to `problems`. Returns the configuration with
// input paths made absolute: a relative path counts from the YAML file that wrote it, one given as
// key=value from the working directory.
TokenizerTrainConfig resolve_tokenizer_train_config(TokenizerTrainConfig config,
                                                    const ConfigNode& root, Problems& problems);

}  // namespace continuo
