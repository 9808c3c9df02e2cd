// Checkpoints of a run: runs/x/checkpoints/step-00000500/ is a Hugging Face directory plus
// optimizer.safetensors, state.json and manifest.json. A checkpoint is complete or not there,
// whenever the process dies. Knows nothing about models and optimizers: callers pass functions that
// write theirs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "core/config/config.h"
#include "core/file_lock.h"
#include "train/train_state.h"

namespace continuo {

struct CheckpointConfig {
  int64_t every = 500;
  int64_t keep_last = 2;
  bool keep_best = true;
};
void fields(FieldVisitor& v, CheckpointConfig& c);

inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kStateFile = "state.json";

struct Checkpoint {
  std::filesystem::path path;
  TrainState state;
};

// <run_dir>/checkpoints/step-%08d
std::filesystem::path checkpoint_path(const std::filesystem::path& run_dir, int64_t step);
// Steps that have a directory, ascending, sound or not.
std::vector<int64_t> checkpoint_steps(const std::filesystem::path& run_dir);

// Reads its state alone, of a directory that another process has opened.
Checkpoint read_checkpoint(const std::filesystem::path& directory);
// Reads every byte against the manifest. Error naming the file that is missing or damaged.
Checkpoint open_checkpoint(const std::filesystem::path& directory);
// The newest sound checkpoint; each newer one that is damaged gives a warning. Error: there is
// none.
Checkpoint latest_checkpoint(const std::filesystem::path& run_dir);
// What mark_best() recorded last; nothing when there is no record or its checkpoint is gone. Not
// verified.
std::optional<std::filesystem::path> best_checkpoint(const std::filesystem::path& run_dir);

// Writes the checkpoints of one run; holds a lock on the run directory as long as it lives.
class CheckpointWriter {
 public:
  // Removes what writers that died left half done. Error: another process writes there.
  CheckpointWriter(std::filesystem::path run_dir, CheckpointConfig config);

  // One of the two comes first. A new run: Error when the directory already has checkpoints.
  void start();
  // A run that goes on: latest_checkpoint(); damaged newer ones are renamed to damaged-step-….
  Checkpoint resume();

  // Fills a checkpoint for state.step: `write_files` writes those of model and optimizer into the
  // directory it is given. Then removes the checkpoints that neither keep_last nor keep_best holds.
  // Returns the checkpoint's path.
  std::filesystem::path save(const TrainState& state,
                             const std::function<void(const std::filesystem::path&)>& write_files);

  // Records that the checkpoint of `step`, saved before, is the best so far. Error: no such
  // checkpoint.
  void mark_best(int64_t step, double eval_loss);

 private:
  void remove_leftovers() const;
  void prune(int64_t newest) const;

  std::filesystem::path run_dir_;
  CheckpointConfig config_;
  std::optional<FileLock> lock_;
};

}  // namespace continuo
