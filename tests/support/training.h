// A small data set over bytes and everything a trainer needs around it.
#pragma once

#include <algorithm>
#include <fstream>
#include <optional>

#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>

#include "data/example_store.h"
#include "data/step_loader.h"
#include "io/safetensors.h"
#include "nn/adapters/lora.h"
#include "support/byte_tokenizer.h"
#include "support/named_parameters.h"
#include "support/temp_dir.h"
#include "support/threads.h"
#include "support/tiny_model.h"
#include "train/optimizer_file.h"
#include "train/parted_gradients.h"
#include "train/ranked_gradients.h"
#include "train/sft.h"
#include "train/trainer.h"

namespace continuo::test {

inline ModelSpec byte_model_spec() {
  ModelSpec spec = tiny_spec();
  spec.embedding.vocabulary = 260;
  return spec;
}

// Rows of different lengths; the completion is the prompt reversed.
inline std::shared_ptr<const ExampleStore> byte_store(const TempDir& directory, int64_t rows) {
  std::string text;
  for (int64_t i = 0; i < rows; ++i) {
    std::string prompt;
    for (int64_t k = 0; k <= (i * 7) % 11; ++k)
      prompt += static_cast<char>('a' + (i * 5 + k * 3) % 26);
    std::string completion(prompt.rbegin(), prompt.rend());
    completion += '!';
    text += nlohmann::json({{"prompt", prompt}, {"completion", completion}}).dump();
    text += '\n';
  }
  const auto file = directory.write(fmt::format("rows{}.jsonl", rows), text);
  DataConfig config;
  config.cache = (directory / "cache").string();
  config.train.emplace_back().path = file.string();
  return open_example_store(config, config.train, ByteTokenizer(), PromptTemplate(PromptConfig{}),
                            128);
}

struct RunOptions {
  BatchConfig batch{.rows = 6, .micro_tokens = 1 << 20, .seed = 3};
  TrainConfig train{.lr = 1e-2, .steps = 8};
  ScheduleConfig schedule = {};
  int64_t checkpoint_every = 0;
  bool resume = false;
  bool with_eval = false;
  // Adapters on every linear layer instead of the model's own weights.
  std::optional<LoraOptions> lora = {};
  Communicator* ranks = nullptr;  // of a process that is not alone
  ModelSpec model = byte_model_spec();
};

struct RunResult {
  TrainOutcome outcome;
  TrainState state;
  std::vector<at::Tensor> weights;  // those that are trained
  std::vector<at::Tensor> frozen;
  std::vector<std::string> optimizer_state;
};

// The trained parameters of the model, or of the adapters that it is given.
inline NamedParameters trained_parameters(Transformer& model, const RunOptions& options,
                                          const std::shared_ptr<DropoutPass>& pass) {
  if (!options.lora) return named_parameters(model);
  NamedParameters parameters;
  for (at::Tensor& parameter : model.parameters()) parameter.set_requires_grad(false);
  for (const auto& item : model.named_modules()) {
    auto* linear = dynamic_cast<LinearImpl*>(item.value().get());
    if (!linear) continue;
    const auto adapter = std::make_shared<LoraAdapter>(*linear, *options.lora, 5, item.key(), pass);
    adapter->initialise();
    linear->adapter = adapter;
    for (const auto& [name, tensor] : linear->adapter->parameters()) {
      parameters.emplace_back(item.key() + "." + name, tensor);
    }
  }
  return parameters;
}

// The lines of a run's metrics.jsonl.
inline std::vector<nlohmann::json> metrics_of(const std::filesystem::path& run_dir) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(run_dir / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// What is handed over, in the order of its names.
inline NamedTensors copies(const RunRecord::HandOver& weights) {
  NamedTensors tensors;
  weights([&](const NamedParameters& some) {
    for (const auto& [name, parameter] : some)
      tensors.emplace_back(name, parameter.detach().clone());
  });
  std::ranges::sort(tensors, {}, [](const auto& entry) { return entry.first; });
  return tensors;
}

inline std::unique_ptr<Gradients> gradients_of(Decoder& decoder, const NamedParameters& parameters,
                                               const RunOptions& options) {
  if (!options.ranks) return std::make_unique<LocalGradients>(parameters);
  if (options.train.shard == Shard::kAll)
    return std::make_unique<PartedGradients>(decoder, parameters, *options.ranks, at::kFloat);
  // Small buckets: a model as small as these has several.
  return std::make_unique<RankedGradients>(
      parameters, *options.ranks,
      RankedGradients::Options{.shard = options.train.shard, .bucket_bytes = 16 << 10}, &decoder);
}

// Trains a fresh byte model in `run_dir`, or goes on from its newest checkpoint.
inline RunResult train_run(const std::filesystem::path& run_dir,
                           std::shared_ptr<const ExampleStore> store, const RunOptions& options,
                           const std::function<void(int64_t)>& after_samples = {}) {
  const Threads one(1);  // a forked child has none of the pool's threads
  std::filesystem::create_directories(run_dir);
  auto model = tiny_model(options.model);
  model->set_compute(
      {.dtype = options.train.dtype == ComputeType::kBfloat16 ? at::kBFloat16 : at::kFloat,
       .recompute = options.train.recompute});
  const auto pass = std::make_shared<DropoutPass>();
  NamedParameters parameters = trained_parameters(*model, options, pass);
  const auto solo = solo_communicator();
  Communicator& ranks = options.ranks ? *options.ranks : *solo;
  std::optional<CheckpointWriter> checkpoints;
  if (ranks.is_first())
    checkpoints.emplace(run_dir,
                        CheckpointConfig{.every = options.checkpoint_every, .keep_last = 3});
  std::optional<Checkpoint> previous;
  if (options.resume) {
    std::string path;
    if (checkpoints) path = checkpoints->resume().path.string();
    previous = read_checkpoint(ranks.broadcast(path, "the checkpoint"));
    const c10::NoGradGuard no_grad;
    const SafetensorsFile weights(previous->path / "model.safetensors");
    for (auto& [name, parameter] : parameters) parameter.copy_(weights.tensor(name));
  } else if (checkpoints) {
    checkpoints->start();
  }
  const std::unique_ptr<Gradients> gradients = gradients_of(*model, parameters, options);
  AdamW optimizer(*gradients, {});
  TrainState state;
  if (previous) {
    state = previous->state;
    load_optimizer(previous->path / kOptimizerFile, optimizer);
  }
  ExampleStream stream(store, {}, options.batch, ranks.size());
  stream.seek({.epoch = state.epoch, .index = state.index});
  StepLoader loader(stream, {.rank = ranks.rank()});
  SftObjective objective(options.train.loss());
  const LrSchedule schedule(options.schedule, options.train.lr, options.train.steps);
  const std::optional<int64_t> resume_at =
      options.resume ? std::optional(state.step + 1) : std::nullopt;
  // Ranks but the first write nothing that is looked at.
  const std::filesystem::path files =
      ranks.is_first() ? run_dir : run_dir / fmt::format("rank{}", ranks.rank());
  std::filesystem::create_directories(files);
  MetricsLog metrics(files / "metrics.jsonl", resume_at);
  TensorBoardWriter tensorboard(files / "tb", resume_at);
  std::optional<RunRecord> record;
  if (checkpoints)
    record.emplace(RunRecord{
        .checkpoints = *checkpoints,
        .metrics = metrics,
        .tensorboard = tensorboard,
        .write_model =
            [](const std::filesystem::path& directory, const RunRecord::HandOver& weights) {
              const auto tensors = copies(weights);
              write_safetensors(directory / "model.safetensors", tensors);
            },
        .show_samples = after_samples});
  Trainer trainer({.decoder = *model,
                   .optimizer = optimizer,
                   .schedule = schedule,
                   .source = loader,
                   .objective = objective,
                   .train = *store,
                   .eval = options.with_eval ? store.get() : nullptr,
                   .eval_tokens = 64,
                   .checkpoint_every = options.checkpoint_every,
                   .shows_samples = static_cast<bool>(after_samples),
                   .dropout = pass.get(),
                   .record = record ? &*record : nullptr},
                  options.train, state);
  RunResult result;
  result.outcome = trainer.run();
  result.state = trainer.state();
  gradients->settle();
  if (!ranks.is_first()) return result;
  for (const auto& [name, p] : parameters) result.weights.push_back(p.detach().clone());
  for (const at::Tensor& p : model->parameters()) {
    if (!p.requires_grad()) result.frozen.push_back(p.clone());
  }
  if (!record) return result;
  const SafetensorsFile moments(latest_checkpoint(run_dir).path / kOptimizerFile);
  for (const auto& [name, info] : moments.tensors()) result.optimizer_state.push_back(name);
  return result;
}

}  // namespace continuo::test
