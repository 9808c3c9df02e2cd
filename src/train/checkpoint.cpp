#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <ranges>
#include <string>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/log.h"
#include "train/manifest.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStepPrefix = "step-";
constexpr const char* kBestFile = "best.json";
constexpr const char* kLockFile = ".lock";

fs::path checkpoints_of(const fs::path& run_dir) { return run_dir / "checkpoints"; }

std::optional<int64_t> step_in_name(const std::string& name) {
  if (!name.starts_with(kStepPrefix)) return {};
  int64_t step = 0;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + kStepPrefix.size(), end, step);
  if (error != std::errc() || rest != end || step < 0) return {};
  return step;
}

// Out of sight by one rename first: a kill in the middle leaves a leftover, never half a
// checkpoint.
void remove_checkpoint(const fs::path& path) {
  const fs::path hidden = path.parent_path() / fmt::format(".{}.removed", path.filename().string());
  std::error_code error;
  fs::remove_all(hidden, error);
  fs::rename(path, hidden, error);
  if (!error) fs::remove_all(hidden, error);
  if (error) log_warning("cannot remove the old checkpoint {}: {}", path.string(), error.message());
}

std::optional<int64_t> best_step(const fs::path& run_dir) {
  const fs::path path = checkpoints_of(run_dir) / kBestFile;
  if (!fs::exists(path)) return {};
  try {
    const nlohmann::json json = read_json(path);
    if (json.is_object() && json.contains("step") && json["step"].is_number_unsigned()) {
      return json["step"].get<int64_t>();
    }
    log_warning("{}: has no step; the best checkpoint is not known", path.string());
  } catch (const Error& error) {
    log_warning("{}; the best checkpoint is not known", error.what());
  }
  return {};
}

}  // namespace

void fields(FieldVisitor& v, CheckpointConfig& c) {
  v.field("every", c.every, "Steps between checkpoints; 0 = only at the end.", Range::at_least(0));
  v.field("keep_last", c.keep_last, "Newest checkpoints that are kept.", Range::at_least(1));
  v.field("keep_best", c.keep_best, "Also keep the checkpoint with the lowest evaluation loss.");
}

fs::path checkpoint_path(const fs::path& run_dir, int64_t step) {
  return checkpoints_of(run_dir) / fmt::format("{}{:08}", kStepPrefix, step);
}

std::vector<int64_t> checkpoint_steps(const fs::path& run_dir) {
  std::vector<int64_t> steps;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(checkpoints_of(run_dir), none)) {
    const auto step = step_in_name(entry.path().filename().string());
    if (step && entry.is_directory() && entry.path() == checkpoint_path(run_dir, *step)) {
      steps.push_back(*step);
    }
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

Checkpoint read_checkpoint(const fs::path& directory) {
  const fs::path state = directory / kStateFile;
  return {directory, parse_train_state(read_file(state), state.string())};
}

Checkpoint open_checkpoint(const fs::path& directory) {
  verify_manifest(directory);
  return read_checkpoint(directory);
}

Checkpoint latest_checkpoint(const fs::path& run_dir) {
  const auto steps = checkpoint_steps(run_dir);
  for (const int64_t step : steps | std::views::reverse) {
    try {
      Checkpoint checkpoint = open_checkpoint(checkpoint_path(run_dir, step));
      if (checkpoint.state.step == step) return checkpoint;
      fail("{} holds the state of step {}", checkpoint.path.string(), checkpoint.state.step);
    } catch (const Error& error) {
      log_warning("{}; skipping the checkpoint of step {}", error.what(), step);
    }
  }
  const std::string where = checkpoints_of(run_dir).string();
  if (steps.empty()) {
    throw Error(fmt::format("nothing to resume: {} holds no checkpoint", where),
                "start the run without --resume");
  }
  throw Error(fmt::format("nothing to resume: every checkpoint in {} is damaged", where),
              "the warnings above name the damaged files");
}

std::optional<fs::path> best_checkpoint(const fs::path& run_dir) {
  const auto step = best_step(run_dir);
  if (!step || !fs::is_directory(checkpoint_path(run_dir, *step))) return {};
  return checkpoint_path(run_dir, *step);
}

CheckpointWriter::CheckpointWriter(fs::path run_dir, CheckpointConfig config)
    : run_dir_(std::move(run_dir)), config_(config) {
  make_directories(checkpoints_of(run_dir_));
  lock_ = FileLock::try_lock(run_dir_ / kLockFile);
  if (!lock_) {
    throw Error("another process is training in " + run_dir_.string(),
                "wait for it to end, or choose another run directory");
  }
  remove_leftovers();
}

void CheckpointWriter::start() {
  if (const auto steps = checkpoint_steps(run_dir_); !steps.empty()) {
    throw Error(
        fmt::format("{} already holds a run, trained to step {}", run_dir_.string(), steps.back()),
        "continue it with --resume, or choose another run directory");
  }
}

Checkpoint CheckpointWriter::resume() {
  Checkpoint latest = latest_checkpoint(run_dir_);
  // Whatever is newer is damaged. Left in place it would be counted by keep_last and tried at every
  // resume.
  for (const int64_t step : checkpoint_steps(run_dir_)) {
    if (step <= latest.state.step) continue;
    const fs::path path = checkpoint_path(run_dir_, step);
    const fs::path aside = path.parent_path() / fmt::format("damaged-{}", path.filename().string());
    std::error_code error;
    fs::remove_all(aside, error);
    fs::rename(path, aside, error);
    if (error) fail("cannot rename {} to {}: {}", path.string(), aside.string(), error.message());
    log_warning("the damaged checkpoint of step {} is now {}", step, aside.string());
  }
  return latest;
}

fs::path CheckpointWriter::save(const TrainState& state,
                                const std::function<void(const fs::path&)>& write_files) {
  const fs::path target = checkpoint_path(run_dir_, state.step);
  AtomicDirectory directory(target);
  write_files(directory.path());
  atomic_write(directory / kStateFile, to_json(state));
  write_manifest(directory.path());
  directory.commit();
  log_debug("step {}: saved {}", state.step, target.string());
  prune(state.step);
  return target;
}

void CheckpointWriter::mark_best(int64_t step, double eval_loss) {
  const fs::path path = checkpoint_path(run_dir_, step);
  if (!fs::is_directory(path)) fail("{}: no such checkpoint to mark as the best", path.string());
  const nlohmann::ordered_json json{{"step", step}, {"eval_loss", eval_loss}};
  atomic_write(checkpoints_of(run_dir_) / kBestFile, json.dump() + '\n');
  prune(step);
}

void CheckpointWriter::remove_leftovers() const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(checkpoints_of(run_dir_), ignored)) {
    // Hidden names are ours alone, and the lock says that nobody is using them.
    const std::string name = entry.path().filename().string();
    if (name.starts_with(fmt::format(".{}", kStepPrefix)) ||
        name.starts_with(fmt::format(".{}.tmp-", kBestFile))) {
      fs::remove_all(entry.path(), ignored);
    }
  }
}

void CheckpointWriter::prune(int64_t newest) const {
  const auto best = config_.keep_best ? best_step(run_dir_) : std::nullopt;
  int64_t kept = 0;
  const auto steps = checkpoint_steps(run_dir_);
  for (const int64_t step : steps | std::views::reverse) {
    if (step > newest) continue;
    if (++kept > config_.keep_last && step != best)
      remove_checkpoint(checkpoint_path(run_dir_, step));
  }
}

}  // namespace continuo
