#include "cli/model_directory.h"

#include <algorithm>

#include "cli/prompt_choice.h"
#include "core/error.h"
#include "core/files.h"
#include "text/chat_template_file.h"
#include "train/checkpoint.h"
#include "train/train_state.h"

namespace continuo {

namespace fs = std::filesystem;

fs::path resolve_model_directory(const fs::path& path) {
  if (fs::exists(path / "config.json")) return path;
  if (const auto best = best_checkpoint(path)) return *best;
  const std::vector<int64_t> steps = checkpoint_steps(path);
  if (!steps.empty()) return checkpoint_path(path, steps.back());
  if (!fs::exists(path)) throw Error("there is no model at " + path.string());
  throw Error(path.string() + " holds neither a model nor checkpoints",
              "Give a directory with config.json and model.safetensors, or a run directory.");
}

namespace {

// What the checkpoint was trained with must be what is used now.
void check_hashes(const ModelDirectory& m) {
  const fs::path file = m.path / kStateFile;
  if (!fs::exists(file)) return;
  const TrainState state = parse_train_state(read_file(file), file.string());
  if (state.tokenizer_hash != m.tokenizer->hash()) {
    throw Error(m.path.string() + ": the tokenizer is not the one that this checkpoint was trained with",
                "Put the original tokenizer files back; other ids would give nonsense.");
  }
  if (state.template_hash != m.prompt.hash()) {
    throw Error(m.path.string() + ": prompt.yaml is not the template that this checkpoint was trained with",
                "Put the original prompt.yaml back, or train with the new template.");
  }
}

}  // namespace

ModelDirectory open_model_directory(const fs::path& path, const LoadOptions& options) {
  ModelDirectory m;
  m.path = resolve_model_directory(path);
  m.tokenizer = load_tokenizer(m.path);
  m.prompt = model_prompt(m.path, *m.tokenizer);
  check_hashes(m);
  m.model = load_model(m.path, options);
  const int64_t rows = m.model.decoder->shape().vocabulary;
  if (m.tokenizer->size() > rows) {
    throw Error(fmt::format("{}: the tokenizer has {} ids, the model's vocabulary only {}", m.path.string(),
                            m.tokenizer->size(), rows));
  }
  m.eos = read_eos_ids(m.path);
  const bool told = !m.eos.empty();
  for (const int64_t id : end_ids(*m.tokenizer, m.prompt)) {
    const bool counts = !told || id != m.tokenizer->eos();  // the files' list of ids stands
    if (counts && std::ranges::find(m.eos, id) == m.eos.end()) m.eos.push_back(id);
  }
  return m;
}

Vocabulary vocabulary_of(std::shared_ptr<const Tokenizer> tokenizer, const std::vector<int64_t>& eos, int64_t size) {
  Vocabulary v;
  v.size = size;
  for (const int64_t id : eos) v.eos.push_back(static_cast<TokenId>(id));
  for (TokenId id = 0; id < tokenizer->size(); ++id) {
    if (tokenizer->is_special(id)) v.specials.push_back(id);
  }
  v.token_bytes = [tokenizer](TokenId id) { return id < tokenizer->size() ? tokenizer->token_bytes(id) : std::string(); };
  v.special_text = [tokenizer](TokenId id) {
    return id < tokenizer->size() && tokenizer->is_special(id) ? tokenizer->piece(id) : std::string();
  };
  v.encode = [tokenizer](std::string_view text) { return tokenizer->encode_continuation(text); };
  return v;
}

void write_model_directory(const Model& model, const Tokenizer& tokenizer, const PromptTemplate& prompt,
                           const fs::path& directory) {
  SpecialIds ids;
  ids.bos = tokenizer.bos();
  ids.pad = tokenizer.pad();
  ids.eos = end_ids(tokenizer, prompt);
  save_model(model, directory, ids);
  tokenizer.save(directory);
  prompt.save(directory / kPromptFile);
  if (prompt.is_chat()) atomic_write(directory / kChatTemplateFile, prompt.exported_chat_template());
}

}  // namespace continuo
