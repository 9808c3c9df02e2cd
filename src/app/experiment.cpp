#include "app/experiment.h"

#include "core/hash.h"

namespace continuo {

namespace fs = std::filesystem;

void fields(FieldVisitor& v, TokenizerConfig& c) {
  v.field("path", c.path,
          "A trained tokenizer (file or directory); empty = that of model.from, or `train` below.");
  v.section("train", c.train, "How to train a tokenizer for a model from scratch.");
}

void fields(FieldVisitor& v, ExperimentConfig& c) {
  v.field("run_dir", c.run_dir, "Where the run writes; default runs/<name of this file>.");
  fields(v, c.machine);
  fields(v, c.ranks);
  v.section("tokenizer", c.tokenizer, "Text to tokens.");
  v.section("model", c.model, "The model.");
  v.section("lora", c.lora, "Low-rank adapters, trained instead of the model's weights.");
  v.section("prompt", c.prompt, "How a record becomes prompt and completion.");
  v.section("data", c.data, "Where rows come from.");
  v.section("batch", c.batch, "How rows become steps.");
  v.section("train", c.train, "The training loop.");
  v.section("optimizer", c.optimizer, "AdamW.");
  v.section("schedule", c.schedule, "The learning rate over the steps.");
  v.section("checkpoint", c.checkpoint, "When to save, what to keep.");
  v.section("generation", c.generation, "How samples are generated.");
  v.field("samples", c.samples, "Prompts that are completed while training.");
}

namespace {

void validate(ExperimentConfig& c, const ConfigNode& origins, Problems& problems) {
  validate(c.model, origins, "model", problems);
  validate(c.lora, origins, "lora", problems);
  if (c.lora.enabled() && c.model.from.empty()) {
    problems.add(locate(origins, "lora"), "lora: adapters need a trained model below them",
                 "Give its directory as model.from.");
  }
  validate(c.batch, origins, "batch", problems);
  validate(c.generation, problems);
  try {
    PromptTemplate{c.prompt};
  } catch (const Error& error) {
    problems.add(locate(origins, "prompt"), error.what());
  }
  if (c.data.train.empty()) {
    problems.add(locate(origins, "data"), "data.train names no file",
                 "data: {train: [{path: rows.jsonl}]}");
  }
  const bool trains_tokenizer = c.tokenizer.path.empty() && c.model.from.empty();
  if (trains_tokenizer && c.tokenizer.train.inputs.empty()) {
    problems.add(locate(origins, "tokenizer"), "a model from scratch needs a tokenizer",
                 "Give tokenizer.path, or tokenizer.train.inputs to train one.");
  }
  c.data = resolve_data_config(c.data, origins, "data", problems);
}

// Input paths of the nested tokenizer section, made absolute where it stands.
TokenizerTrainConfig resolve_tokenizer_inputs(TokenizerTrainConfig config,
                                              const ConfigNode& origins) {
  for (size_t i = 0; i < config.inputs.size(); ++i) {
    config.inputs[i].path = resolve_path(origins, fmt::format("tokenizer.train.inputs.{}.path", i),
                                         config.inputs[i].path);
  }
  return config;
}

}  // namespace

Experiment load_experiment(const fs::path& file, const std::vector<std::string>& overrides) {
  Experiment e;
  e.origins = load_yaml(file);
  for (const std::string& assignment : overrides) apply_override(e.origins, assignment);
  Problems problems;
  load_config(e.origins, e.config, problems);
  problems.raise();
  ExperimentConfig& c = e.config;
  if (!c.model.from.empty()) c.model.from = resolve_path(e.origins, "model.from", c.model.from);
  if (!c.lora.from.empty()) c.lora.from = resolve_path(e.origins, "lora.from", c.lora.from);
  if (!c.tokenizer.path.empty())
    c.tokenizer.path = resolve_path(e.origins, "tokenizer.path", c.tokenizer.path);
  c.tokenizer.train = resolve_tokenizer_inputs(c.tokenizer.train, e.origins);
  validate(c, e.origins, problems);
  problems.raise();
  if (c.run_dir.empty()) c.run_dir = (fs::path("runs") / file.stem()).string();
  e.run_dir = fs::absolute(c.run_dir).lexically_normal();
  return e;
}

std::string resolved_yaml(const Experiment& experiment) {
  return dump_config(experiment.config, &experiment.origins);
}

std::string resume_hash(const ExperimentConfig& config) {
  ExperimentConfig c = config;
  c.run_dir.clear();
  c.machine = {};
  c.ranks = {};
  c.checkpoint = {};
  c.generation = {};
  // The template's own hash says more: it covers what the section refers to. An empty section is
  // spelled as it was when `bos` could not be auto, or older runs would not go on.
  c.prompt = {.bos = BosRule::kFalse};
  c.samples.clear();
  c.data.cache.clear();
  c.data.threads = 0;
  c.train.steps = 0;
  c.train.epochs = 1;
  c.train.log_every = 1;
  c.train.eval_every = c.train.sample_every = c.train.early_stopping = 0;
  c.train.early_stopping_delta = 0;
  c.train.shard = Shard::kNone;
  std::string text = dump_config(c);
  // Runs from before these keys go on.
  for (const std::string_view unchosen :
       {"cuda:\n  kernels: proven\n  deterministic: false\n  nccl: false\n", "ranks: 0\n",
        "rank_timeout: 1800\n", "  shard: none\n", "  base_weights: auto\n"}) {
    if (const size_t at = text.find(unchosen); at != std::string::npos)
      text.erase(at, unchosen.size());
  }
  return hash_bytes(text);
}

}  // namespace continuo
