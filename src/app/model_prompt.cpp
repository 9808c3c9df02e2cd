#include "app/model_prompt.h"

#include <algorithm>

#include "app/gguf_model.h"
#include "models/store/model.h"
#include "text/jinja/parser.h"
#include "text/prompt/chat_template_file.h"
#include "train/checkpoint.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

std::optional<ChatTemplateFile> gguf_chat_template(const fs::path& file) {
  std::string source = read_gguf_chat_template(GgufFile(file));
  if (source.empty()) return std::nullopt;
  return ChatTemplateFile{std::move(source), file};
}

}  // namespace

std::optional<ModelPrompt> brought_template(const fs::path& directory, const Tokenizer& tokenizer,
                                            PromptConfig config) {
  auto found =
      is_gguf_file(directory) ? gguf_chat_template(directory) : read_chat_template(directory);
  if (!found) return std::nullopt;
  config.chat.clear();
  config.chat_template = std::move(found->source);
  // Places in a file of its own are those of the template.
  if (found->file.extension() == ".jinja") jinja::parse(config.chat_template, found->file.string());
  try {
    return ModelPrompt{PromptTemplate(std::move(config)).bound_to(tokenizer),
                       "the chat template of " + found->file.string()};
  } catch (const Error& error) {
    throw Error(Location{.file = found->file.string()}, error.what(),
                "a prompt.yaml beside it, or `prompt:` of an experiment, is used instead");
  }
}

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

std::vector<int64_t> end_ids(const Tokenizer& tokenizer, const PromptTemplate& prompt) {
  std::vector<int64_t> ids;
  if (tokenizer.eos()) ids.push_back(*tokenizer.eos());
  const auto piece = prompt.end_of_turn();
  const auto id = piece ? tokenizer.find(*piece) : std::nullopt;
  if (id && std::ranges::find(ids, *id) == ids.end()) ids.push_back(*id);
  return ids;
}

}  // namespace continuo
