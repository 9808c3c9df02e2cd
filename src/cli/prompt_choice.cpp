#include "cli/prompt_choice.h"

#include <algorithm>

#include "cli/gguf_model.h"
#include "cli/model_directory.h"
#include "core/log.h"
#include "text/chat_presets.h"
#include "text/chat_template_file.h"
#include "train/train_state.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

std::optional<ChatTemplateFile> gguf_chat_template(const fs::path& file) {
  std::string source = read_gguf_chat_template(GgufFile(file));
  if (source.empty()) return std::nullopt;
  return ChatTemplateFile{std::move(source), file};
}

// A chat template that the directory brings, with the other keys of `config`.
std::optional<ModelPrompt> brought_template(const fs::path& directory, const Tokenizer& tokenizer,
                                            PromptConfig config) {
  auto found =
      is_gguf_file(directory) ? gguf_chat_template(directory) : read_chat_template(directory);
  if (!found) return std::nullopt;
  config.chat.clear();
  config.chat_template = std::move(found->source);
  try {
    return ModelPrompt{PromptTemplate(std::move(config)).bound_to(tokenizer),
                       "the chat template of " + found->file.string()};
  } catch (const Error& error) {
    throw Error(Location{.file = found->file.string()}, error.what(),
                "a prompt.yaml beside it, or `prompt:` of an experiment, is used instead");
  }
}

}  // namespace

ModelPrompt model_prompt(const fs::path& directory, const Tokenizer& tokenizer) {
  if (const fs::path file = directory / kPromptFile; fs::exists(file)) {
    PromptTemplate prompt = PromptTemplate::load(file);
    // A checkpoint holds it as it was used.
    if (!fs::exists(directory / kStateFile)) prompt = prompt.bound_to(tokenizer);
    return {std::move(prompt), file.string()};
  }
  if (auto brought = brought_template(directory, tokenizer, {})) return *std::move(brought);
  return {PromptTemplate(PromptConfig{}).bound_to(tokenizer), "plain text: no file has a template"};
}

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

ModelPrompt model_prompt(const fs::path& directory, const Tokenizer& tokenizer) {
  if (const fs::path file = directory / kPromptFile; fs::exists(file)) {
    PromptTemplate prompt = PromptTemplate::load(file);
    // A checkpoint holds it as it was used.
    if (!fs::exists(directory / kStateFile)) prompt = prompt.bound_to(tokenizer);
    return {std::move(prompt), file.string()};
  }
  if (auto brought = brought_template(directory, tokenizer, {})) return *std::move(brought);
  return {PromptTemplate(PromptConfig{}).bound_to(tokenizer), "plain text: no file has a template"};
}

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

std::vector<int64_t> end_ids(const Tokenizer& tokenizer, const PromptTemplate& prompt) {
  std::vector<int64_t> ids;
  if (tokenizer.eos()) ids.push_back(*tokenizer.eos());
  const auto piece = prompt.end_of_turn();
  const auto id = piece ? tokenizer.find(*piece) : std::nullopt;
  if (id && std::ranges::find(ids, *id) == ids.end()) ids.push_back(*id);
  return ids;
}

}  // namespace continuo
