#include "app/prompt_choice.h"

#include "app/model_directory.h"
#include "app/model_prompt.h"
#include "core/log.h"
#include "text/prompt/chat_presets.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

PromptTemplate chosen_prompt(const Experiment& experiment, const Tokenizer& tokenizer) {
  const ExperimentConfig& c = experiment.config;
  const bool from_model = !c.model.from.empty();
  if (c.prompt.chat == kBaseChat && from_model) {
    const fs::path directory = resolve_model_directory(c.model.from);
    PromptConfig config = c.prompt;
    if (fs::exists(directory / kPromptFile)) {
      const PromptConfig base = PromptTemplate::load(directory / kPromptFile).config();
      config.chat = base.chat;
      config.chat_template = base.chat_template;
      return PromptTemplate(std::move(config)).bound_to(tokenizer);
    }
    if (auto brought = brought_template(directory, tokenizer, config)) return brought->prompt;
    throw Error(fmt::format("chat: base, but {} brings no chat template", directory.string()),
                fmt::format("name one: {}", chat_preset_names()));
  }
  if (!from_model || experiment.origins.find("prompt")) {
    return PromptTemplate(c.prompt).bound_to(tokenizer);
  }
  const fs::path directory = resolve_model_directory(c.model.from);
  PromptTemplate prompt = model_prompt(directory, tokenizer).prompt;
  const bool plain = prompt.hash() == PromptTemplate(PromptConfig{}).bound_to(tokenizer).hash();
  if (!plain) {
    log_info("prompt template: the {}of {} (a `prompt:` section would replace it)",
             prompt.is_chat() ? "chat template " : "one ", directory.string());
  }
  return prompt;
}

}  // namespace

PromptTemplate experiment_prompt(const Experiment& experiment, const Tokenizer& tokenizer,
                                 const fs::path& checkpoint) {
  PromptTemplate prompt = chosen_prompt(experiment, tokenizer);
  if (!checkpoint.empty() && experiment.config.prompt.bos == BosRule::kAuto) {
    prompt = prompt.with_bos(PromptTemplate::load(checkpoint / kPromptFile).config().bos);
  }
  if (prompt.is_chat() && !prompt.end_of_turn() && tokenizer.eos()) {
    log_info(
        "the chat template ends no turn with a special token: {} is added to the last answer of "
        "each row",
        tokenizer.piece(*tokenizer.eos()));
  }
  return prompt;
}

}  // namespace continuo
