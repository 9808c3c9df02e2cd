// The prompt template that a model brings in its own files, and the ids that end its answers. Knows
// no experiment.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "text/prompt/prompt_template.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {

inline constexpr const char* kPromptFile = "prompt.yaml";

struct ModelPrompt {
  PromptTemplate prompt;
  std::string origin;  // which file says so, for people
};

// prompt.yaml of the directory, else the chat template that its tokenizer brings, else the plain
// template. Error: at the file, what PromptTemplate finds.
ModelPrompt model_prompt(const std::filesystem::path& directory, const Tokenizer& tokenizer);

// The chat template alone, with the other keys of `config`; nothing where the directory has none.
std::optional<ModelPrompt> brought_template(const std::filesystem::path& directory,
                                            const Tokenizer& tokenizer, PromptConfig config);

// What ends an answer: end-of-sequence and the end of a turn of the chat template.
std::vector<int64_t> end_ids(const Tokenizer& tokenizer, const PromptTemplate& prompt);

}  // namespace continuo
