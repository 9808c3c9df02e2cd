// A process that is killed at any moment leaves a run directory that resumes.
#include <chrono>
#include <random>
#include <thread>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log.h"
#include "io/safetensors.h"
#include "support/temp_dir.h"
#include "train/checkpoint.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

at::Tensor weights(int64_t step) { return at::full({2000}, static_cast<float>(step)); }

// Resumes where the directory stands and writes checkpoints until it is killed.
[[noreturn]] void write_forever(const fs::path& run) {
  try {
    CheckpointWriter writer(run, {.keep_last = 1});
    int64_t step = checkpoint_steps(run).empty() ? 0 : writer.resume().state.step;
    while (true) {
      ++step;
      writer.save({.step = step}, [&](const fs::path& directory) {
        write_safetensors(directory / "model.safetensors", {{"w", weights(step)}});
        write_safetensors(directory / kOptimizerFile, {{"m", weights(step)}});
      });
      if (step % 7 == 0) writer.mark_best(step, 1.0);
    }
  } catch (...) {
    _exit(1);
  }
}

TEST(CheckpointKill, TheDirectoryAlwaysResumes) {
  const test::TempDir dir;
  const fs::path run = dir / "run";
  set_log_level(LogLevel::kOff);
  std::mt19937 random(1);
  int64_t reached = 0;
  for (int round = 0; round < 25; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) write_forever(run);
    // The first round runs until there is something to lose.
    while (round == 0 && checkpoint_steps(run).empty())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer met an error";

    const Checkpoint latest = latest_checkpoint(run);
    EXPECT_EQ(latest.state.step, checkpoint_steps(run).back()) << "the newest one is sound";
    EXPECT_GE(latest.state.step, reached);
    reached = latest.state.step;
    EXPECT_TRUE(at::equal(SafetensorsFile(latest.path / "model.safetensors").tensor("w"),
                          weights(reached)));
    EXPECT_TRUE(
        at::equal(SafetensorsFile(latest.path / kOptimizerFile).tensor("m"), weights(reached)));
  }
  set_log_level(LogLevel::kInfo);
  EXPECT_GT(reached, 0);
}

}  // namespace
}  // namespace continuo
