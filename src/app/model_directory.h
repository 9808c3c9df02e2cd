// A model directory opened for use: weights, tokenizer, prompt template and the ids that end a
// sequence, checked to belong together.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "app/compute_config.h"
#include "generate/sampling/vocabulary.h"
#include "models/store/adapter_file.h"
#include "models/store/model.h"
#include "models/store/save_model.h"
#include "nn/executor.h"
#include "text/prompt/prompt_template.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {

struct ModelDirectory {
  std::filesystem::path path;
  std::filesystem::path base;          // of an adapter: where its base model lies; else empty
  std::optional<AdapterInfo> adapter;  // what lies on top of the model
  Model model;
  AdapterSet adapters;  // attached to its layers, of an adapter
  std::shared_ptr<const Tokenizer> tokenizer;
  std::filesystem::path tokenizer_home;  // whose files it was read from
  PromptTemplate prompt{PromptConfig{}};
  std::string prompt_origin;  // which file says so, for people
  std::vector<int64_t> eos;
};

// A checkpoint or adapter itself, or a run directory, which stands for its best checkpoint, else
// its newest.
std::filesystem::path resolve_model_directory(const std::filesystem::path& path);

// Of everything that has one: a tokenizer file or its directory, a GGUF file, a model directory, a
// run directory, an adapter (whose base has it where it has none).
std::shared_ptr<const Tokenizer> load_model_tokenizer(const std::filesystem::path& path);

// The ids that end a sequence by a model's own files: generation_config.json or config.json of a
// directory, the keys of a GGUF file.
NamedEosIds read_model_eos_ids(const std::filesystem::path& model);

// Error: no model or tokenizer there; a tokenizer or template other than the one the checkpoint was
// trained with; a vocabulary that does not fit the weights. A directory without prompt.yaml gets
// the chat template that its tokenizer brings, else the plain template. An adapter is attached to
// its base; `base` replaces the place that the adapter names. Tokenizer and template that it lacks
// come from the base.
ModelDirectory open_model_directory(const std::filesystem::path& path, const LoadOptions& options,
                                    const std::filesystem::path& base = {});

// The model's executor and, where an adapter lies on top, the adapter's id in it.
struct ServedModel {
  std::unique_ptr<Executor> executor;
  int64_t adapter = kNoAdapter;
};
ServedModel serve_model(const std::shared_ptr<Transformer>& model, const ExecutorOptions& options);

// Both at once, the fastest way from files to a first token. Errors as above; matrices stay in
// their files until the executor has read them.
struct OpenModel {
  ModelDirectory directory;
  ServedModel served;
};
OpenModel open_served_model(const std::filesystem::path& path, const Compute& compute,
                            const std::filesystem::path& base = {});

Vocabulary vocabulary_of(std::shared_ptr<const Tokenizer> tokenizer,
                         const std::vector<int64_t>& eos, int64_t size);

// Writes the model's and its companions' files into a checkpoint directory that is being filled.
// `eos`: the ids that end a sequence, by default the tokenizer's. `weights`: as `save_model` takes
// them.
void write_model_directory(const Model& model, const Tokenizer& tokenizer,
                           const PromptTemplate& prompt, const std::filesystem::path& directory,
                           const std::vector<int64_t>& eos = {}, const HandOver& weights = {});
// The same for a model that stays in `base` and the adapters that were trained on it.
void write_adapter_directory(const AdapterSet& adapters, const std::filesystem::path& base,
                             const Tokenizer& tokenizer, const PromptTemplate& prompt,
                             const std::filesystem::path& directory);

inline constexpr const char* kExperimentFile = "experiment.yaml";

}  // namespace continuo
