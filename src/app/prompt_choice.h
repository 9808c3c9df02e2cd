// Which prompt template an experiment trains with.
#pragma once

#include <filesystem>

#include "app/experiment.h"
#include "text/prompt/prompt_template.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {

// The experiment's `prompt` section; without one, that of the model it starts from. `chat: base`
// stands for that model's chat template. With the `checkpoint` of a run that goes on, `bos: auto`
// is what the run began with. Logs what training adds to the template. Error: what PromptTemplate
// finds, at its file; base without a model or chat template.
PromptTemplate experiment_prompt(const Experiment& experiment, const Tokenizer& tokenizer,
                                 const std::filesystem::path& checkpoint = {});

}  // namespace continuo
