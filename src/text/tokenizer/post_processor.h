// The post-processor of a tokenizer.json, as far as it says which special tokens stand around one
// text: how transformers keeps that a model opens texts with BOS. Never applied here.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/tokenizer/tokenizer.h"

namespace continuo {

struct SurroundingTokens {
  std::vector<std::string> before, behind;  // as the vocabulary spells them
};

// Of the value of `post_processor`. One that is not understood says nothing.
SurroundingTokens surrounding_tokens(const nlohmann::json& post_processor);
// Of a file, whose vocabulary is passed over. Error: unreadable, damaged JSON.
SurroundingTokens surrounding_tokens(const std::filesystem::path& tokenizer_json);

// The post-processor that puts BOS before every text.
nlohmann::json bos_post_processor(const std::string& piece, TokenId id);

}  // namespace continuo
