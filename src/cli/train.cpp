// `continuo train`: an experiment from its YAML file to checkpoints.
#include <CLI/CLI.hpp>

#include "app/adapters.h"
#include "app/model_directory.h"
#include "app/ranks.h"
#include "app/training_run.h"
#include "cli/commands.h"
#include "core/files.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/progress.h"
#include "data/step_loader.h"
#include "generate/generator.h"
#include "nn/served_decoder.h"
#include "train/make_gradients.h"
#include "train/optimizer_file.h"
#include "train/served_gap.h"
#include "train/sft.h"
#include "train/trainer.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

std::string parameter_summary(const TrainingRun& run) {
  const AdapterSet& adapters = run.adapters;
  const auto all = static_cast<double>(count_parameters(*run.model.decoder));
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

// The model as it stands: served by what holds its frozen weights, or anew, for between two samples
// the memory is training's.
class Serving {
 public:
  explicit Serving(const TrainingRun& run) : holder_(run.holder.get()) {
    const std::shared_ptr<Transformer>& decoder = run.model.decoder;
    if (holder_) {
      executor_ = run.holder;
      adapter_ = holder_->add_adapter(*decoder->adapter_weights());
      return;
    }
    ServedModel served = serve_model(
        decoder,
        executor_options(decoder->compute().dtype, WeightChoice::kAuto, CacheChoice::kAuto));
    executor_ = std::move(served.executor);
    adapter_ = served.adapter;
  }
  ~Serving() {
    if (holder_) holder_->remove_adapter(adapter_);
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

  const std::shared_ptr<Executor>& executor() const { return executor_; }
  int64_t adapter() const { return adapter_; }

 private:
  Executor* holder_;
  std::shared_ptr<Executor> executor_;
  int64_t adapter_ = kNoAdapter;
};

std::string sample_text(const ExperimentConfig& c, const TrainingRun& run) {
  const std::shared_ptr<Transformer>& decoder = run.model.decoder;
  std::vector<std::vector<TokenId>> prompts;
  for (const std::string& text : c.samples) {
    prompts.push_back(encode_prompt(*run.tokenizer, run.prompt, run.prompt.render_prompt(text)));
  }
  GenerationConfig generation = c.generation;
  generation.samples = 1;
  if (drafts_by_model(generation)) generation.draft = kDraftNone;  // changes speed alone
  const Serving served(run);
  Generator generator(*served.executor(),
                      vocabulary_of(run.tokenizer, run.eos, decoder->spec().embedding.vocabulary),
                      generation, {.adapter = served.adapter()});
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

void write_checkpoint_files(const TrainingRun& run, const std::string& experiment,
                            const fs::path& directory, const HandOver& weights) {
  if (run.adapters.empty()) {
    write_model_directory(run.model, *run.tokenizer, run.prompt, directory, run.eos, weights);
  } else {
    weights([](const NamedTensors&) {});  // adapters are in memory; now they have their values
    write_adapter_directory(run.adapters, run.base, *run.tokenizer, run.prompt, directory);
  }
  atomic_write(directory / kExperimentFile, experiment);
}

void show_samples(const ExperimentConfig& c, const TrainingRun& run, TensorBoardWriter& tensorboard,
                  int64_t step) {
  const std::string text = sample_text(c, run);
  log_info("samples at step {}\n{}", step, text);
  tensorboard.text(step, "samples", text);
}

void log_plan(const TrainingRun& run, const Compute& compute, const Arithmetic& arithmetic,
              const LrSchedule& schedule) {
  log_info("{}, {} on {} ({}) with {} threads{}", parameter_summary(run), arithmetic.dtype,
           compute.device.str(), arithmetic.instruction_set, compute.threads,
           arithmetic.ranks > 1 ? fmt::format(" on each of {} ranks", arithmetic.ranks) : "");
  const StoreReport& report = run.data.train->report();
  log_info("training: {}, {} tokens, {} trained; {} steps", summary(report),
           format_count(static_cast<double>(report.tokens)),
           format_count(static_cast<double>(report.trained)), schedule.total_steps());
  log_debug("the learning rate warms up for {} steps", schedule.warmup_steps());
}

void log_totals(const TrainState& end) {
  log_info("{} tokens in {} ({} tokens/s), best eval loss {}",
           format_count(static_cast<double>(end.tokens)), format_duration(end.seconds),
           format_count(end.seconds > 0 ? static_cast<double>(end.tokens) / end.seconds : 0),
           end.best_eval_loss
               ? fmt::format("{:.4f} at step {}", *end.best_eval_loss, end.best_eval_step)
               : "not measured");
}

// Training computes with the weights that are served; what serving rounds beyond is said here.
void log_served_gap(const ExperimentConfig& c, const TrainingRun& run) {
  if (!run.holder || !run.data.eval) return;
  constexpr int64_t kRows = 100;
  const Serving serving(run);
  ServedDecoder served(serving.executor(), serving.adapter());
  Transformer& trained = *run.model.decoder;
  served.set_compute(trained.compute());
  trained.eval();
  const int64_t tokens = std::min<int64_t>(c.batch.micro_tokens, 1024);
  const ServedGap gap = served_gap(trained, served, *run.data.eval, tokens, kRows);
  if (gap.tokens == 0) return;
  log_info(
      "served from {}, log p of {} held-out tokens differs from training's by {:.4f} in the mean, "
      "{:.3f} at most",
      run.holder->description(), gap.tokens, gap.mean, gap.max);
}

// What the first rank keeps of a run, in its directory.
class RunFiles {
 public:
  // `resume_at`: the first step that is not done yet, of a run that goes on.
  RunFiles(const Experiment& e, const TrainingRun& run, CheckpointWriter& checkpoints,
           std::optional<int64_t> resume_at)
      : experiment_(resolved_yaml(e)),
        metrics_(e.run_dir / "metrics.jsonl", resume_at),
        tensorboard_(e.run_dir / "tensorboard", resume_at),
        record_{.checkpoints = checkpoints,
                .metrics = metrics_,
                .tensorboard = tensorboard_,
                .write_model =
                    [&run, this](const fs::path& at, const HandOver& weights) {
                      write_checkpoint_files(run, experiment_, at, weights);
                    },
                .show_samples =
                    [&e, &run, this](int64_t step) {
                      show_samples(e.config, run, tensorboard_, step);
                    }} {
    atomic_write(e.run_dir / kExperimentFile, experiment_);
  }

  RunRecord& record() { return record_; }

 private:
  std::string experiment_;
  MetricsLog metrics_;
  TensorBoardWriter tensorboard_;
  RunRecord record_;
};

struct TrainingEnd {
  TrainOutcome outcome;
  TrainState state;
};

// `previous`: the checkpoint of a run that goes on; `checkpoints`: of the first rank.
TrainingEnd run_training(const Experiment& e, const Compute& compute, const TrainingRun& run,
                         CheckpointWriter* checkpoints, const std::optional<Checkpoint>& previous,
                         Communicator& ranks) {
  const ExperimentConfig& c = e.config;
  const TrainState state = start_run(run, c, compute, previous, ranks);
  run.model.decoder->set_compute({.dtype = compute.dtype, .recompute = c.train.recompute});
  const std::unique_ptr<Gradients> gradients =
      make_gradients(*run.model.decoder, trained_parameters(run.model, run.adapters), ranks,
                     c.train.shard, run.holder ? std::nullopt : std::optional(compute.dtype));
  AdamW optimizer(*gradients, c.optimizer);
  if (previous) load_optimizer(previous->path / kOptimizerFile, optimizer);

  ExampleStream stream(run.data.train, {}, c.batch, ranks.size());
  stream.seek({.epoch = state.epoch, .index = state.index});
  const LrSchedule schedule(c.schedule, c.train.lr, total_steps(c, stream));
  StepLoader loader(stream, {.rank = ranks.rank()});
  SftObjective objective(c.train.loss());
  std::optional<RunFiles> files;
  if (checkpoints)
    files.emplace(e, run, *checkpoints, previous ? std::optional(state.step + 1) : std::nullopt);

  log_plan(run, compute, state.arithmetic, schedule);
  if (previous) log_info("going on from step {} ({})", state.step, previous->path.string());
  Trainer trainer({.decoder = *run.model.decoder,
                   .optimizer = optimizer,
                   .schedule = schedule,
                   .source = loader,
                   .objective = objective,
                   .train = *run.data.train,
                   .eval = run.data.eval.get(),
                   .eval_tokens = c.batch.micro_tokens,
                   .checkpoint_every = c.checkpoint.every,
                   .shows_samples = !c.samples.empty(),
                   .dropout = run.adapters.pass.get(),
                   .record = files ? &files->record() : nullptr},
                  c.train, state);
  const TrainOutcome outcome = trainer.run();
  log_totals(trainer.state());
  if (files && outcome != TrainOutcome::kInterrupted) log_served_gap(c, run);
  return {outcome, trainer.state()};
}

// The checkpoint to go on from, which the first rank has found sound.
std::optional<Checkpoint> find_previous(CheckpointWriter* checkpoints, bool resume,
                                        Communicator& ranks) {
  std::optional<Checkpoint> previous;
  if (checkpoints && resume) previous = checkpoints->resume();
  if (checkpoints && !resume) checkpoints->start();
  const std::string path =
      ranks.broadcast(previous ? previous->path.string() : "", "rank 0's look at the checkpoints");
  if (!checkpoints && !path.empty()) previous = read_checkpoint(path);
  return previous;
}

int train_as_rank(const Experiment& e, const DeviceConfig& machine, const std::string& file,
                  bool resume, Communicator& ranks) {
  const Compute compute = start_compute(machine, e.config.train.dtype, e.config.lora.enabled());
  connect_gpus(ranks, compute.device, machine.cuda);
  install_interrupt_handlers();

  std::optional<CheckpointWriter> checkpoints;
  if (ranks.is_first()) {
    make_directories(e.run_dir);
    checkpoints.emplace(e.run_dir, e.config.checkpoint);
  }
  check_shared(ranks, e.run_dir);
  CheckpointWriter* writer = checkpoints ? &*checkpoints : nullptr;
  const std::optional<Checkpoint> previous = find_previous(writer, resume, ranks);
  const TrainingRun run = prepare_run(e, compute, previous, ranks);
  const auto [outcome, end] = run_training(e, compute, run, writer, previous, ranks);
  if (outcome == TrainOutcome::kInterrupted) {
    log_warning("interrupted at step {}, saved; go on with: continuo train {} --resume", end.step,
                file);
    return 1;
  }
  if (writer) fmt::print("{}\n", resolve_model_directory(e.run_dir).string());
  return 0;
}

int train(const std::string& file, const std::vector<std::string>& overrides, bool resume) {
  const Experiment e = load_experiment(file, overrides);
  DeviceConfig machine = e.config.machine;
  return run_ranks(e.config.ranks, machine, [&](Communicator& ranks) {
    return train_as_rank(e, machine, file, resume, ranks);
  });
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
