// Where a training run stands, besides weights and optimizer moments: all that resuming needs,
// because data order and noise are pure functions of seeds and counters. Saved as state.json; knows
// nothing about files around it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace continuo {

// Bit-identical results need the same of these.
struct Arithmetic {
  int64_t threads = 0;
  // Empty: saved by a version that did not store them.
  std::string dtype = {};            // of the products: fp32 or bf16
  std::string instruction_set = {};  // of the CPU's kernels; elsewhere the device's type
  int64_t ranks = 1;

  friend bool operator==(const Arithmetic&, const Arithmetic&) = default;
};

struct TrainState {
  int64_t step = 0;            // optimizer steps done
  int64_t epoch = 0;           // data cursor: the next row to train on
  int64_t index = 0;           //   its place in the epoch's order
  int64_t rows = 0;            // seen since the start of the run
  int64_t tokens = 0;          //   of them trained or not
  int64_t trained_tokens = 0;  //   under the loss
  std::optional<double> best_eval_loss = {};
  int64_t best_eval_step = 0;
  int64_t evals_without_improvement = 0;  // counter of early stopping
  std::string config_hash = {}, data_hash = {}, tokenizer_hash = {}, template_hash = {};
  double seconds = 0;  // trained, over all resumes
  Arithmetic arithmetic = {};

  friend bool operator==(const TrainState&, const TrainState&) = default;
};

// Doubles survive exactly. Error: a double that is not finite.
std::string to_json(const TrainState& state);
// Strict: every key of its version present, none unknown, right types, known version. `file` names
// the source in errors.
TrainState parse_train_state(std::string_view json, const std::string& file);

}  // namespace continuo
