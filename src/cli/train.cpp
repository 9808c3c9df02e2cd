// `continuo train`: an experiment from its YAML file to checkpoints.
#include <CLI/CLI.hpp>

#include "app/adapters.h"
#include "app/experiment.h"
#include "app/experiment_tokenizer.h"
#include "app/model_directory.h"
#include "app/model_prompt.h"
#include "app/prompt_choice.h"
#include "cli/commands.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/progress.h"
#include "data/example_store.h"
#include "data/step_loader.h"
#include "generate/generator.h"
#include "nn/cpu/kernels/kernels.h"
#include "train/sft.h"
#include "train/trainer.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

Model prepare_model(const ExperimentConfig& c, int64_t vocabulary, const Compute& compute) {
  if (c.model.from.empty()) return make_model(c.model, vocabulary, compute.device);
  const fs::path directory = resolve_model_directory(c.model.from);
  if (is_adapter_directory(directory)) {
    throw Error("model.from: " + directory.string() + " is an adapter",
                "Merge it first (continuo merge), or go on with it: lora.from, with its base as "
                "model.from.");
  }
  // Frozen weights need no float32 masters: they are held as the products want them.
  const at::ScalarType held = c.lora.enabled() ? compute.dtype : at::kFloat;
  Model model = load_model(directory, {.device = compute.device, .dtype = held, .map = false});
  if (model.decoder->spec().embedding.vocabulary < vocabulary) {
    throw Error(fmt::format("the tokenizer has {} ids, {} only {}", vocabulary, c.model.from,
                            model.decoder->spec().embedding.vocabulary));
  }
  return model;
}

std::string parameter_summary(const Model& model, const AdapterSet& adapters) {
  const auto all = static_cast<double>(count_parameters(*model.decoder));
  if (adapters.empty()) return format_count(all) + " parameters";
  double trained = 0;
  for (const auto& [name, tensor] : adapter_parameters(adapters))
    trained += static_cast<double>(tensor.numel());
  const LoraOptions& o = adapters.options;
  return fmt::format("{} of {} parameters are trained ({:.2f}%): {} of rank {} on {} layers",
                     format_count(trained), format_count(all + trained),
                     100 * trained / (all + trained), o.dora ? "DoRA" : "LoRA", o.rank,
                     adapters.layers.size());
}

// Restores weights in place: optimizer and decoder keep their tensors.
void restore_weights(const Model& model, const fs::path& checkpoint) {
  const c10::NoGradGuard no_grad;
  const Model saved = load_model(checkpoint);
  const auto from = saved.decoder->named_parameters();
  for (const auto& item : model.decoder->named_parameters()) item.value().copy_(from[item.key()]);
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

// Served anew every time: between two samples the memory is training's.
std::string sample_text(const ExperimentConfig& c, const Model& model,
                        const std::shared_ptr<const Tokenizer>& tokenizer,
                        const PromptTemplate& prompt, const std::vector<int64_t>& eos) {
  std::vector<std::vector<TokenId>> prompts;
  for (const std::string& text : c.samples) {
    prompts.push_back(encode_prompt(*tokenizer, prompt, prompt.render_prompt(text)));
  }
  GenerationConfig generation = c.generation;
  generation.samples = 1;
  if (drafts_by_model(generation)) generation.draft = kDraftNone;  // changes speed alone
  const ServedModel served = serve_model(
      model.decoder,
      executor_options(model.decoder->compute().dtype, WeightChoice::kAuto, CacheChoice::kAuto));
  Generator generator(*served.executor,
                      vocabulary_of(tokenizer, eos, model.decoder->spec().embedding.vocabulary),
                      generation, {.adapter = served.adapter});
  const GenerationResult result = generator.generate(prompts, {}, [] { return interrupted(); });
  std::string out;
  for (const Completion& completion : result.completions) {
    out += fmt::format("  {}\n    → {}\n", c.samples[completion.prompt], completion.text_bytes);
  }
  return out;
}

int64_t total_steps(const ExperimentConfig& c, const ExampleStream& stream) {
  if (c.train.steps > 0) return c.train.steps;
  const auto whole = static_cast<int64_t>(c.train.epochs);
  const double rest = c.train.epochs - static_cast<double>(whole);
  if (c.batch.tokens == 0) {
    const int64_t per_epoch = (stream.epoch_size() + c.batch.rows - 1) / c.batch.rows;
    return std::max<int64_t>(
        1, whole * per_epoch + static_cast<int64_t>(rest * static_cast<double>(per_epoch)));
  }
  // Under a token budget the steps of an epoch depend on its order: they are counted on the lengths
  // alone.
  ExampleStream walker = stream;
  walker.seek({});
  const auto last_rows = static_cast<int64_t>(rest * static_cast<double>(stream.epoch_size()));
  int64_t steps = 0;
  while (walker.cursor().epoch < whole ||
         (walker.cursor().epoch == whole && walker.cursor().index < last_rows)) {
    walker.next();
    ++steps;
  }
  return std::max<int64_t>(1, steps);
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
        "unbroken "
        "run, if only in the last bits",
        before, after);
  };
  const Arithmetic &before = saved.arithmetic, &after = now.arithmetic;
  compare(fmt::format("{} threads", before.threads), fmt::format("{} threads", after.threads));
  compare(before.dtype, after.dtype);
  compare(before.instruction_set, after.instruction_set);
}

int train(const std::string& file, const std::vector<std::string>& overrides, bool resume) {
  const Experiment e = load_experiment(file, overrides);
  const ExperimentConfig& c = e.config;
  const Compute compute = start_compute(c.machine, c.train.dtype);
  install_interrupt_handlers();

  make_directories(e.run_dir);
  CheckpointWriter checkpoints(e.run_dir, c.checkpoint);
  std::optional<Checkpoint> previous;
  if (resume) {
    previous = checkpoints.resume();
  } else {
    checkpoints.start();
  }
  const std::shared_ptr<const Tokenizer> tokenizer = prepare_experiment_tokenizer(e);
  const PromptTemplate prompt =
      experiment_prompt(e, *tokenizer, previous ? previous->path : fs::path());
  const std::vector<int64_t> eos = sequence_ends(c, *tokenizer, prompt);
  Model model = prepare_model(c, tokenizer->size(), compute);
  const AdapterSet adapters =
      open_adapters(c.lora, model, c.model.from, locate(e.origins, "lora.targets"));
  const fs::path base =
      adapters.empty() ? fs::path() : fs::absolute(resolve_model_directory(c.model.from));
  const DataSets data = open_data_sets(c.data, *tokenizer, prompt, model.decoder->spec().context);

  TrainState state;
  state.config_hash = resume_hash(c);
  state.data_hash = data.train->hash();
  state.tokenizer_hash = tokenizer->hash();
  state.template_hash = prompt.hash();
  const Arithmetic arithmetic = {
      .threads = compute.threads,
      .dtype = std::string(dtype_name(compute.dtype)),
      .instruction_set = compute.device.is_cpu()
                             ? kernels().instruction_set
                             : c10::DeviceTypeName(compute.device.type(), true)};
  state.arithmetic = arithmetic;
  if (previous) {
    check_same_run(previous->state, state, previous->path);
    state = previous->state;
    state.arithmetic = arithmetic;
    if (adapters.empty()) {
      restore_weights(model, previous->path);
    } else {
      restore_adapters(adapters, base, previous->path);
    }
  }
  model.decoder->set_compute({.dtype = compute.dtype, .recompute = c.train.recompute});
  AdamW optimizer(trained_parameters(model, adapters), c.optimizer);
  if (previous) {
    optimizer.load_state(SafetensorsFile(previous->path / kOptimizerFile).all());
  }

  ExampleStream stream(data.train, {}, c.batch);
  stream.seek({.epoch = state.epoch, .index = state.index});
  const LrSchedule schedule(c.schedule, c.train.lr, total_steps(c, stream));
  StepLoader loader(stream);
  SftObjective objective(c.train.loss());
  const std::string resolved = resolved_yaml(e);
  atomic_write(e.run_dir / kExperimentFile, resolved);
  const std::optional<int64_t> resume_at = previous ? std::optional(state.step + 1) : std::nullopt;
  MetricsLog metrics(e.run_dir / "metrics.jsonl", resume_at);
  TensorBoardWriter tensorboard(e.run_dir / "tensorboard", resume_at);

  log_info("{}, {} on {} ({}) with {} threads", parameter_summary(model, adapters),
           arithmetic.dtype, compute.device.str(), arithmetic.instruction_set, compute.threads);
  log_info("training: {}, {} tokens, {} trained; {} steps", summary(data.train->report()),
           format_count(static_cast<double>(data.train->report().tokens)),
           format_count(static_cast<double>(data.train->report().trained)), schedule.total_steps());
  log_debug("the learning rate warms up for {} steps", schedule.warmup_steps());
  if (previous) log_info("going on from step {} ({})", state.step, previous->path.string());

  Trainer trainer({.decoder = *model.decoder,
                   .optimizer = optimizer,
                   .schedule = schedule,
                   .source = loader,
                   .objective = objective,
                   .train = *data.train,
                   .eval = data.eval.get(),
                   .eval_tokens = c.batch.micro_tokens,
                   .checkpoints = checkpoints,
                   .checkpoint_every = c.checkpoint.every,
                   .metrics = metrics,
                   .tensorboard = tensorboard,
                   .write_model =
                       [&](const fs::path& directory) {
                         if (adapters.empty()) {
                           write_model_directory(model, *tokenizer, prompt, directory, eos);
                         } else {
                           write_adapter_directory(adapters, base, *tokenizer, prompt, directory);
                         }
                         atomic_write(directory / kExperimentFile, resolved);
                       },
                   .show_samples =
                       [&](int64_t step) {
                         if (c.samples.empty()) return;
                         const std::string text = sample_text(c, model, tokenizer, prompt, eos);
                         log_info("samples at step {}\n{}", step, text);
                         tensorboard.text(step, "samples", text);
                       },
                   .dropout = adapters.pass.get()},
                  c.train, state);
  const TrainOutcome outcome = trainer.run();
  const TrainState& end = trainer.state();
  log_info("{} tokens in {} ({} tokens/s), best eval loss {}",
           format_count(static_cast<double>(end.tokens)), format_duration(end.seconds),
           format_count(end.seconds > 0 ? static_cast<double>(end.tokens) / end.seconds : 0),
           end.best_eval_loss
               ? fmt::format("{:.4f} at step {}", *end.best_eval_loss, end.best_eval_step)
               : "not measured");
  if (outcome == TrainOutcome::kInterrupted) {
    log_warning("interrupted at step {}, saved; go on with: continuo train {} --resume", end.step,
                file);
    return 1;
  }
  fmt::print("{}\n", resolve_model_directory(e.run_dir).string());
  return 0;
}

}  // namespace

void add_train_command(CLI::App& app) {
  struct Arguments {
    std::string file;
    std::vector<std::string> overrides;
    bool resume = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("train", "Train or fine-tune as a YAML file says");
  command->add_option("config", arguments->file, "The experiment (see configs/)")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("overrides", arguments->overrides,
                      "key=value: settings that replace the file's (train.lr=1e-3)");
  command->add_flag(
      "--resume", arguments->resume,
      "Go on from the newest checkpoint; on the CPU bit for bit, with as many threads");
  command->footer("Keys:\n" + config_help(ExperimentConfig{}));
  command->callback([arguments] {
    if (const int code = train(arguments->file, arguments->overrides, arguments->resume))
      throw CLI::RuntimeError(code);
  });
}

}  // namespace continuo
