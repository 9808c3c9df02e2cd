// The training loop, composed of parts that are made elsewhere: steps of rows come in, weights,
// metrics and checkpoints go out. Knows neither text nor model families; samples and model files
// are callbacks.
#pragma once

#include <functional>
#include <memory>

#include "data/example_store.h"
#include "data/step_source.h"
#include "nn/decoder.h"
#include "train/checkpoint.h"
#include "train/evaluator.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/step.h"
#include "train/tensorboard.h"
#include "train/train_config.h"
#include "train/train_state.h"

namespace continuo {

class Progress;

// Where a run leaves what it has to show.
struct RunRecord {
  CheckpointWriter& checkpoints;
  MetricsLog& metrics;
  TensorBoardWriter& tensorboard;
  // Writes the model's files of a checkpoint into a directory, with the weights that it is handed.
  using HandOver = std::function<void(const Gradients::Take&)>;
  std::function<void(const std::filesystem::path&, const HandOver&)> write_model;
  std::function<void(int64_t step)> show_samples;
};

// The ranks of a run are those of the optimizer's gradients; each has a trainer of its own.
struct TrainerParts {
  Decoder& decoder;
  AdamW& optimizer;
  const LrSchedule& schedule;
  StepSource& source;
  Objective& objective;
  const ExampleStore& train;
  const ExampleStore* eval = nullptr;
  int64_t eval_tokens = 8192;  // token budget of an evaluation batch
  int64_t checkpoint_every = 0;
  bool shows_samples = false;      // the record does; every rank knows
  DropoutPass* dropout = nullptr;  // of the decoder's adapters; acts on training passes alone
  RunRecord* record = nullptr;     // of the first rank; the others have none
};

enum class TrainOutcome { kFinished, kEarlyStopped, kInterrupted };

class Trainer {
 public:
  // `state` is where the run stands: zero for a new one, a checkpoint's for one that goes on.
  Trainer(TrainerParts parts, const TrainConfig& config, TrainState state);
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // Until schedule.total_steps(), early stopping or an interrupt of any rank; the last state is
  // always saved.
  // Error: a loss or gradient that is not finite, naming the rows of that step; earlier checkpoints
  // stay.
  TrainOutcome run();
  const TrainState& state() const { return state_; }

 private:
  struct Measured {
    StepResult result;
    double lr = 0, seconds = 0;
  };
  Measured train_step(TrainingStep& step);
  // Counts a step as done.
  void advance(const TrainingStep& step, double seconds);
  void record_step(const TrainingStep& step, const Measured& measured);
  void record_evaluation(const Evaluation& e);
  void show_progress(Progress& progress, const TrainingStep& step, const Measured& measured);
  // What is due after a step, evaluation, samples, a checkpoint; true: stop early.
  bool after_step(bool last);
  bool evaluate_now();  // true when early stopping asks to stop
  void save();
  bool interrupted_anywhere();

  TrainerParts parts_;
  Communicator& ranks_;
  TrainConfig config_;
  TrainState state_;
  int64_t saved_step_ = -1;
};

}  // namespace continuo
