// Which prompt template a model or an experiment uses.
#pragma once

#include <filesystem>

#include "cli/experiment.h"
#include "text/prompt_template.h"

namespace continuo {

// prompt.yaml of the directory, else the chat template that its tokenizer brings, else the plain
// template. Error: at the file, what PromptTemplate finds.
struct ModelPrompt {
  PromptTemplate prompt;
  std::string origin;  // which file says so, for people
};
ModelPrompt model_prompt(const std::filesystem::path& directory, const Tokenizer& tokenizer);

// The experiment's `prompt` section; without one, that of the model it starts from. `chat: base`
// stands for that model's chat template. With the `checkpoint` of a run that goes on, `bos: auto`
// is what the run began with. Logs what training adds to the template. Error: as above; base
// without a model or chat template.
PromptTemplate experiment_prompt(const Experiment& experiment, const Tokenizer& tokenizer,
                                 const std::filesystem::path& checkpoint = {});

// What ends an answer: end-of-sequence and the end of a turn of the chat template.
std::vector<int64_t> end_ids(const Tokenizer& tokenizer, const PromptTemplate& prompt);

}  // namespace continuo
