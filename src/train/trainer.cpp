#include "train/trainer.h"

#include <cmath>
#include <functional>
#include <optional>

#include "core/interrupt.h"
#include "core/log.h"
#include "core/process.h"
#include "core/progress.h"
#include "nn/device_memory.h"
#include "train/optimizer_file.h"

namespace continuo {

namespace {

std::string step_rows(const TrainingStep& step, const ExampleStore& store) {
  std::string names;
  int64_t count = 0;
  for (const Batch& batch : step.micro_batches) {
    for (const int64_t row : batch.rows) {
      if (count++ < 8) names += (names.empty() ? "" : ", ") + store.where(row);
    }
  }
  return names + (count > 8 ? fmt::format(" and {} more", count - 8) : "");
}

// Of all ranks.
std::string step_rows(const TrainingStep& step, const ExampleStore& store, Communicator& ranks) {
  return ranks.gather_names(step_rows(step, store), "the rows' names");
}

}  // namespace

Trainer::Trainer(TrainerParts parts, const TrainConfig& config, TrainState state)
    : parts_(std::move(parts)),
      ranks_(parts_.optimizer.gradients().ranks()),
      config_(config),
      state_(std::move(state)) {}

Trainer::Measured Trainer::train_step(TrainingStep& step) {
  Measured measured;
  measured.lr = parts_.schedule.lr(state_.step);
  if (step.trained_count == 0) {
    log_warning("step {} has no trained token and changes nothing: {}", state_.step + 1,
                step_rows(step, parts_.train, ranks_));
    return measured;
  }
  measured.result = accumulate(step, parts_.objective,
                               {.decoder = parts_.decoder,
                                .gradients = parts_.optimizer.gradients(),
                                .number = state_.step,
                                .dropout = parts_.dropout,
                                .stop = [] { return interrupted(); },
                                .where = [this](int64_t row) { return parts_.train.where(row); }});
  if (!std::isfinite(measured.result.gradient_norm)) {
    throw CommonError(fmt::format("step {}: the gradient norm is not finite; rows of the step: {}",
                                  state_.step + 1, step_rows(step, parts_.train, ranks_)),
                      "Lower train.lr. The last checkpoint is untouched.");
  }
  parts_.optimizer.step(measured.lr, measured.result.gradient_norm);
  return measured;
}

void Trainer::advance(const TrainingStep& step, double seconds) {
  ++state_.step;
  state_.epoch = step.after.epoch;
  state_.index = step.after.index;
  state_.rows += step.rows;
  state_.tokens += step.tokens;
  state_.trained_tokens += step.trained_count;
  state_.seconds += seconds;
}

void Trainer::record_step(const TrainingStep& step, const Measured& measured) {
  const double trained = static_cast<double>(step.trained_count),
               total = static_cast<double>(step.tokens);
  std::vector<std::pair<std::string, double>> scalars = {{"loss", measured.result.loss}};
  const std::span<const MetricSpec> metrics = parts_.objective.metrics();
  for (size_t i = 0; i < metrics.size(); ++i) {
    scalars.emplace_back(metrics[i].name, measured.result.metrics[i]);
  }
  scalars.insert(scalars.end(), {{"grad_norm", measured.result.gradient_norm},
                                 {"lr", measured.lr},
                                 {"tokens_per_second", total / measured.seconds},
                                 {"trained_tokens_per_second", trained / measured.seconds},
                                 {"peak_memory_gb", peak_memory_bytes() / 1e9}});
  if (const double bytes = peak_device_bytes(parts_.decoder.device()); bytes > 0)
    scalars.emplace_back("peak_device_gb", bytes / 1e9);
  Metrics line = {{"kind", std::string("train")}, {"epoch", step.epoch}};
  for (const auto& [name, value] : scalars) line.emplace_back(name, value);
  line.insert(line.end(), {{"step_tokens", step.tokens},
                           {"step_trained_tokens", step.trained_count},
                           {"rows", state_.rows},
                           {"tokens", state_.tokens},
                           {"trained_tokens", state_.trained_tokens},
                           {"seconds", state_.seconds}});
  parts_.record->metrics.write(state_.step, line);
  std::vector<std::pair<std::string, double>> tagged;
  for (const auto& [name, value] : scalars) tagged.emplace_back("train/" + name, value);
  parts_.record->tensorboard.scalars(state_.step, tagged);
}

void Trainer::show_progress(Progress& progress, const TrainingStep& step,
                            const Measured& measured) {
  const double on_device = peak_device_bytes(parts_.decoder.device());
  const double memory = on_device > 0 ? on_device : peak_memory_bytes();
  const auto rate = [&](int64_t tokens) {
    return format_count(static_cast<double>(tokens) / measured.seconds);
  };
  progress.update(
      state_.step,
      fmt::format("epoch {} loss {:.4f} norm {:.2f} lr {:.2e} {} tok/s ({} trained) {}",
                  step.epoch + 1, measured.result.loss, measured.result.gradient_norm, measured.lr,
                  rate(step.tokens), rate(step.trained_count), format_bytes(memory)));
}

void Trainer::record_evaluation(const Evaluation& e) {
  log_info("step {}: eval loss {:.4f}, perplexity {:.2f}, accuracy {:.1f}% on {} tokens of {} rows",
           state_.step, e.loss(), std::exp(e.loss()), 100 * e.accuracy(), e.tokens, e.rows);
  parts_.record->metrics.write(state_.step, {{"kind", std::string("eval")},
                                             {"eval_loss", e.loss()},
                                             {"eval_accuracy", e.accuracy()},
                                             {"eval_entropy", e.mean_entropy()},
                                             {"eval_tokens", e.tokens},
                                             {"eval_rows", e.rows}});
  parts_.record->tensorboard.scalars(state_.step,
                                     {{"eval/loss", e.loss()}, {"eval/accuracy", e.accuracy()}});
}

bool Trainer::evaluate_now() {
  if (!parts_.eval) return false;
  const Evaluation e =
      evaluate(parts_.decoder, *parts_.eval, parts_.eval_tokens,
               {.ranks = &ranks_, .together = parts_.optimizer.gradients().passes_together()});
  if (interrupted_anywhere()) return false;
  if (parts_.record) record_evaluation(e);
  const bool better =
      !state_.best_eval_loss || e.loss() < *state_.best_eval_loss - config_.early_stopping_delta;
  if (better) {
    state_.best_eval_loss = e.loss();
    state_.best_eval_step = state_.step;
    state_.evals_without_improvement = 0;
    save();
    if (parts_.record) parts_.record->checkpoints.mark_best(state_.step, e.loss());
  } else {
    ++state_.evals_without_improvement;
  }
  return config_.early_stopping > 0 && state_.evals_without_improvement >= config_.early_stopping;
}

void Trainer::save() {
  if (saved_step_ == state_.step) return;
  Gradients& gradients = parts_.optimizer.gradients();
  if (parts_.record) {
    parts_.record->metrics.sync();
    parts_.record->checkpoints.save(state_, [&](const std::filesystem::path& directory) {
      parts_.record->write_model(directory, std::bind_front(&Gradients::hand_over, &gradients));
      save_optimizer(directory / kOptimizerFile, parts_.optimizer);
    });
  } else {
    gradients.hand_over({});
    save_optimizer({}, parts_.optimizer);
  }
  saved_step_ = state_.step;
}

bool Trainer::interrupted_anywhere() { return ranks_.any(interrupted(), "the others' step"); }

bool Trainer::after_step(bool last) {
  const auto due = [&](int64_t every) { return every > 0 && state_.step % every == 0; };
  const bool stop = (last || due(config_.eval_every)) && evaluate_now();
  if (stop) {
    log_info("stopping early: {} evaluations without improvement, best {:.4f} at step {}",
             state_.evals_without_improvement, *state_.best_eval_loss, state_.best_eval_step);
  }
  if (parts_.shows_samples && (due(config_.sample_every) || last || stop)) {
    parts_.optimizer.gradients().settle();
    if (parts_.record) parts_.record->show_samples(state_.step);
  }
  if (due(parts_.checkpoint_every)) save();
  return stop;
}

TrainOutcome Trainer::run() {
  const int64_t total = parts_.schedule.total_steps();
  std::optional<Progress> progress;
  if (parts_.record)
    progress.emplace(ProgressOptions{
        .title = "Training", .total = total, .start = state_.step, .unit = "steps"});
  TrainOutcome outcome = TrainOutcome::kFinished;
  saved_step_ = state_.step > 0 ? state_.step : -1;
  bool stop = interrupted_anywhere();
  while (state_.step < total && outcome == TrainOutcome::kFinished) {
    ranks_.enter(fmt::format("step {}", state_.step + 1));
    // Of several ranks none stops alone: they agreed at the end of the last step, for a question
    // of its own would wait behind the weights that are on their way.
    if (stop || (ranks_.size() == 1 && interrupted())) {
      outcome = TrainOutcome::kInterrupted;
      break;
    }
    const double start = seconds_now();
    TrainingStep step = parts_.source.next();
    Measured measured = train_step(step);
    measured.seconds = seconds_now() - start;
    advance(step, measured.seconds);
    const bool last = state_.step == total;
    stop = measured.result.stop;
    const bool due = last || state_.step % config_.log_every == 0;
    if (parts_.record && step.trained_count && due) record_step(step, measured);
    if (progress) show_progress(*progress, step, measured);
    if (after_step(last)) outcome = TrainOutcome::kEarlyStopped;
  }
  if (progress) progress->finish();
  ranks_.enter(fmt::format("the end, at step {}", state_.step));
  save();
  return outcome;
}

}  // namespace continuo
