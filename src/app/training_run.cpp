#include "app/training_run.h"

#include <algorithm>

#include "app/adapters.h"
#include "app/experiment_tokenizer.h"
#include "app/frozen_base.h"
#include "app/model_directory.h"
#include "app/model_prompt.h"
#include "app/prompt_choice.h"
#include "core/log.h"
#include "nn/cpu/kernels/kernels.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

// Whether no rank is to hold all weights.
bool parts_weights(const ExperimentConfig& c, const Communicator& ranks) {
  return c.train.shard == Shard::kAll && ranks.size() > 1;
}

// The model alone where all of its weights are trained: those of `previous`, where a run goes on.
FrozenBase prepare_model(const ExperimentConfig& c, int64_t vocabulary, const Compute& compute,
                         const std::optional<Checkpoint>& previous, const Communicator& ranks) {
  const LoadOptions options = {.device = compute.device,
                               .held = parts_weights(c, ranks) ? Held::stored : Held::memory};
  const auto alone = [](Model model) {
    return FrozenBase{.model = std::move(model), .holder = {}, .form = {}};
  };
  if (previous && !c.lora.enabled()) return alone(load_model(previous->path, options));
  if (c.model.from.empty())
    return alone(make_model(c.model, vocabulary, compute.device, options.held));
  const fs::path directory = resolve_model_directory(c.model.from);
  if (is_adapter_directory(directory)) {
    throw Error("model.from: " + directory.string() + " is an adapter",
                "Merge it first (continuo merge), or go on with it: lora.from, with its base as "
                "model.from.");
  }
  FrozenBase base = c.lora.enabled() ? load_frozen_base(directory, c.lora, compute, options.held)
                                     : alone(load_model(directory, options));
  if (base.model.decoder->spec().embedding.vocabulary < vocabulary) {
    throw Error(fmt::format("the tokenizer has {} ids, {} only {}", vocabulary, c.model.from,
                            base.model.decoder->spec().embedding.vocabulary));
  }
  return base;
}

// What ends a sequence of the model: the ids that its base's files name, and those that training
// teaches.
std::vector<int64_t> sequence_ends(const ExperimentConfig& c, const Tokenizer& tokenizer,
                                   const PromptTemplate& prompt) {
  std::vector<int64_t> ids;
  if (!c.model.from.empty()) ids = read_model_eos_ids(resolve_model_directory(c.model.from)).ids;
  for (const int64_t id : end_ids(tokenizer, prompt)) {
    if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

Arithmetic arithmetic_of(const Compute& compute) {
  return {.threads = compute.threads,
          .dtype = std::string(dtype_name(compute.dtype)),
          .instruction_set = compute.device.is_cpu()
                                 ? kernels().instruction_set
                                 : c10::DeviceTypeName(compute.device.type(), true)};
}

void check_same_run(const TrainState& saved, const TrainState& now, const fs::path& checkpoint) {
  const auto differs = [&](const char* what) {
    throw Error(
        fmt::format("{} cannot go on: {} changed since it was saved", checkpoint.string(), what),
        "Restore it as it was (experiment.yaml in the checkpoint shows how), or start a new "
        "run_dir.");
  };
  if (saved.tokenizer_hash != now.tokenizer_hash) differs("the tokenizer has");
  if (saved.template_hash != now.template_hash) differs("the prompt template has");
  if (saved.data_hash != now.data_hash) differs("the training data has");
  if (saved.config_hash != now.config_hash)
    differs("a setting of model, lora, batch, train, optimizer or schedule has");
  const auto compare = [](const std::string& before, const std::string& after) {
    if (before.empty() || before == after) return;  // earlier versions did not store all of it
    log_warning(
        "the run was made with {} and goes on with {}: its results differ from those of an "
        "unbroken run, if only in the last bits",
        before, after);
  };
  const Arithmetic &before = saved.arithmetic, &after = now.arithmetic;
  compare(fmt::format("{} threads", before.threads), fmt::format("{} threads", after.threads));
  const auto ranks = [](int64_t n) { return fmt::format("{} rank{}", n, n == 1 ? "" : "s"); };
  compare(ranks(before.ranks), ranks(after.ranks));
  compare(before.dtype, after.dtype);
  compare(before.instruction_set, after.instruction_set);
}

}  // namespace

TrainingRun prepare_run(const Experiment& experiment, const Compute& compute,
                        const std::optional<Checkpoint>& previous, Communicator& ranks) {
  const ExperimentConfig& c = experiment.config;
  TrainingRun run;
  run.tokenizer = first_rank_first(ranks, "rank 0's tokenizer",
                                   [&] { return prepare_experiment_tokenizer(experiment); });
  run.prompt =
      experiment_prompt(experiment, *run.tokenizer, previous ? previous->path : fs::path());
  run.eos = sequence_ends(c, *run.tokenizer, run.prompt);
  FrozenBase base = prepare_model(c, run.tokenizer->size(), compute, previous, ranks);
  run.model = std::move(base.model);
  run.holder = std::move(base.holder);
  run.adapters =
      open_adapters(c.lora, run.model, c.model.from, locate(experiment.origins, "lora.targets"));
  run.adapters.base_weights = base.form;
  if (!run.adapters.empty()) run.base = fs::absolute(resolve_model_directory(c.model.from));
  run.data = first_rank_first(ranks, "rank 0's data", [&] {
    return open_data_sets(c.data, *run.tokenizer, run.prompt, run.model.decoder->spec().context);
  });
  return run;
}

TrainState start_run(const TrainingRun& run, const ExperimentConfig& config, const Compute& compute,
                     const std::optional<Checkpoint>& previous, Communicator& ranks) {
  TrainState state;
  state.config_hash = resume_hash(config);
  state.data_hash = run.data.train->hash();
  state.tokenizer_hash = run.tokenizer->hash();
  state.template_hash = run.prompt.hash();
  state.arithmetic = arithmetic_of(compute);
  state.arithmetic.ranks = ranks.size();
  check_equal(ranks, state.config_hash, "a configuration");
  check_equal(ranks, state.data_hash, "training data");
  check_equal(ranks, state.tokenizer_hash, "a tokenizer");
  check_equal(ranks, state.template_hash, "a prompt template");
  if (!previous) return state;
  check_same_run(previous->state, state, previous->path);
  const Arithmetic arithmetic = state.arithmetic;
  state = previous->state;
  state.arithmetic = arithmetic;
  if (!run.adapters.empty()) restore_adapters(run.adapters, run.base, previous->path);
  return state;
}

}  // namespace continuo
