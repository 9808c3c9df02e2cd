#include "app/model_directory.h"

#include <algorithm>
#include <future>

#include "app/gguf_model.h"
#include "app/model_prompt.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/process.h"
#include "text/prompt/chat_template_file.h"
#include "train/checkpoint.h"
#include "train/train_state.h"

namespace continuo {

namespace fs = std::filesystem;

fs::path resolve_model_directory(const fs::path& path) {
  if (is_gguf_file(path) || fs::exists(path / "config.json") || is_adapter_directory(path))
    return path;
  if (const auto best = best_checkpoint(path)) return *best;
  const std::vector<int64_t> steps = checkpoint_steps(path);
  if (!steps.empty()) return checkpoint_path(path, steps.back());
  if (!fs::exists(path)) throw Error("there is no model at " + path.string());
  throw Error(path.string() + " holds neither a model nor checkpoints",
              "Give a directory with config.json and model.safetensors, a .gguf file, an adapter "
              "or a run directory.");
}

namespace {

bool holds_tokenizer(const fs::path& directory) {
  return fs::exists(directory / "tokenizer.model") || fs::exists(directory / "tokenizer.json");
}

// A run directory or an adapter without a tokenizer of its own points to one.
bool points_to_tokenizer(const fs::path& path) {
  return fs::is_directory(path) && !holds_tokenizer(path) &&
         (is_adapter_directory(path) || !checkpoint_steps(path).empty());
}

}  // namespace

std::shared_ptr<const Tokenizer> load_model_tokenizer(const fs::path& path) {
  if (points_to_tokenizer(path)) {
    return load_model_tokenizer(is_adapter_directory(path) ? adapter_base(path)
                                                           : resolve_model_directory(path));
  }
  return is_gguf_file(path) ? read_gguf_tokenizer(GgufFile(path)) : load_tokenizer(path);
}

NamedEosIds read_model_eos_ids(const fs::path& model) {
  if (!is_gguf_file(model)) return read_eos_ids(model);
  return {read_gguf_eos_ids(GgufFile(model)), model};
}

namespace {

// What the checkpoint was trained with must be what is used now.
void check_hashes(const ModelDirectory& m) {
  const fs::path file = m.path / kStateFile;
  if (!fs::exists(file)) return;
  const TrainState state = parse_train_state(read_file(file), file.string());
  if (state.tokenizer_hash != m.tokenizer->hash()) {
    throw Error(
        m.path.string() + ": the tokenizer is not the one that this checkpoint was trained with",
        "Put the original tokenizer files back; other ids would give nonsense.");
  }
  if (state.template_hash != m.prompt.hash()) {
    throw Error(
        m.path.string() + ": prompt.yaml is not the template that this checkpoint was trained with",
        "Put the original prompt.yaml back, or train with the new template.");
  }
}

// Where the model's parts lie.
ModelDirectory locate(const fs::path& path, const fs::path& base) {
  ModelDirectory m;
  m.path = resolve_model_directory(path);
  if (is_adapter_directory(m.path)) {
    m.adapter = read_adapter_config(m.path);
    m.base = resolve_model_directory(adapter_base(m.path, base));
  } else if (!base.empty()) {
    throw Error::usage(m.path.string() + " is a whole model: it has no base", "leave out --base");
  }
  return m;
}

void open_texts(ModelDirectory& m) {
  const auto holder_of = [&](std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (fs::exists(m.path / name)) return m.path;
    }
    return m.adapter ? m.base : m.path;
  };
  m.tokenizer_home = holder_of({"tokenizer.model", "tokenizer.json"});
  m.tokenizer = load_model_tokenizer(m.tokenizer_home);
  ModelPrompt prompt = model_prompt(holder_of({kPromptFile}), *m.tokenizer);
  m.prompt = std::move(prompt.prompt);
  m.prompt_origin = std::move(prompt.origin);
  check_hashes(m);
  return_freed_memory();  // large vocabularies leave much behind, and weights need room
}

void open_weights(ModelDirectory& m, const LoadOptions& options) {
  m.model = load_model(m.adapter ? m.base : m.path, options);
  if (m.adapter) m.adapters = load_adapters(m.model, m.base, m.path);
}

// What texts and weights have to say of each other.
void join(ModelDirectory& m) {
  if (const std::string& weights = m.adapters.base_weights; !weights.empty()) {
    log_info("{} was trained on {} weights: --weights {} serves it so", m.path.string(), weights,
             weights);
  }
  const int64_t rows = m.model.decoder->spec().embedding.vocabulary;
  if (m.tokenizer->size() > rows) {
    throw Error(fmt::format("{}: the tokenizer has {} ids, the model's vocabulary only {}",
                            m.path.string(), m.tokenizer->size(), rows));
  }
  m.eos = read_model_eos_ids(m.adapter ? m.base : m.path).ids;
  const bool told = !m.eos.empty();
  for (const int64_t id : end_ids(*m.tokenizer, m.prompt)) {
    const bool counts = !told || id != m.tokenizer->eos();  // the files' list of ids stands
    if (counts && std::ranges::find(m.eos, id) == m.eos.end()) m.eos.push_back(id);
  }
  log_debug("{}: the tokenizer is that of {}, the prompt template {}; documents open {} BOS",
            m.path.string(), m.tokenizer_home.string(), m.prompt_origin,
            opens_with_bos(*m.tokenizer, m.prompt) ? "with" : "without");
}

}  // namespace

ModelDirectory open_model_directory(const fs::path& path, const LoadOptions& options,
                                    const fs::path& base) {
  ModelDirectory m = locate(path, base);
  open_texts(m);
  open_weights(m, options);
  join(m);
  return m;
}

ServedModel serve_model(const std::shared_ptr<Transformer>& model, const ExecutorOptions& options) {
  ServedModel served = {.executor = make_executor(model, options)};
  if (const auto adapter = model->adapter_weights())
    served.adapter = served.executor->add_adapter(*adapter);
  return served;
}

// A large tokenizer is read by one core and takes about as long as weights that are converted. The
// blocks of a GGUF file are packed sooner than that: beside them it would cost memory for nothing.
OpenModel open_served_model(const fs::path& path, const Compute& compute, const fs::path& base) {
  OpenModel open = {.directory = locate(path, base), .served = {}};
  ModelDirectory& m = open.directory;
  std::future<void> texts;
  if (is_gguf_file(m.adapter ? m.base : m.path)) {
    open_texts(m);
  } else {
    texts = std::async([&] { open_texts(m); });
  }
  try {
    open_weights(m, {.device = compute.device, .dtype = compute.dtype, .held = Held::stored});
    open.served = serve_model(m.model.decoder, compute.executor);
  } catch (...) {
    if (texts.valid()) texts.get();  // what is wrong with these is said first
    throw;
  }
  if (texts.valid()) texts.get();
  join(m);
  return open;
}

Vocabulary vocabulary_of(std::shared_ptr<const Tokenizer> tokenizer,
                         const std::vector<int64_t>& eos, int64_t size) {
  Vocabulary v;
  v.size = size;
  for (const int64_t id : eos) v.eos.push_back(static_cast<TokenId>(id));
  for (TokenId id = 0; id < tokenizer->size(); ++id) {
    if (tokenizer->is_special(id)) v.specials.push_back(id);
  }
  v.token_bytes = [tokenizer](TokenId id) {
    return id < tokenizer->size() ? tokenizer->token_bytes(id) : std::string();
  };
  v.special_text = [tokenizer](TokenId id) {
    return id < tokenizer->size() && tokenizer->is_special(id) ? tokenizer->piece(id)
                                                               : std::string();
  };
  v.encode = [tokenizer](std::string_view text) { return tokenizer->encode_continuation(text); };
  return v;
}

void write_model_directory(const Model& model, const Tokenizer& tokenizer,
                           const PromptTemplate& prompt, const fs::path& directory,
                           const std::vector<int64_t>& eos, const HandOver& weights) {
  SpecialIds ids;
  ids.bos = tokenizer.bos();
  ids.pad = tokenizer.pad();
  ids.eos = eos.empty() ? end_ids(tokenizer, prompt) : eos;
  save_model(model, directory, ids, weights);
  tokenizer.save(directory, exports_bos(tokenizer, prompt));
  prompt.save(directory / kPromptFile);
  if (prompt.is_chat())
    atomic_write(directory / kChatTemplateFile, prompt.exported_chat_template());
}

void write_adapter_directory(const AdapterSet& adapters, const fs::path& base,
                             const Tokenizer& tokenizer, const PromptTemplate& prompt,
                             const fs::path& directory) {
  save_adapters(adapters, base, directory);
  tokenizer.save(directory, exports_bos(tokenizer, prompt));
  prompt.save(directory / kPromptFile);
}

}  // namespace continuo
