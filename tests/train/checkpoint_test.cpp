#include "train/checkpoint.h"

#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/log.h"
#include "io/safetensors.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using Steps = std::vector<int64_t>;

template <class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void save(CheckpointWriter& writer, int64_t step) {
  writer.save({.step = step, .rows = 8 * step}, [&](const fs::path& directory) {
    write_safetensors(directory / "model.safetensors",
                      {{"w", at::full({3}, static_cast<float>(step))}});
    write_safetensors(directory / kOptimizerFile, {{"exp_avg/w", at::ones({3})}});
  });
}

// Turns one bit of the file's middle byte.
void damage(const fs::path& path) {
  std::string bytes = test::read_file(path);
  bytes[bytes.size() / 2] ^= 1;
  std::ofstream(path, std::ios::binary) << bytes;
}

struct Checkpoints : testing::Test {
  TempDir dir;
  fs::path run = dir / "run";
  void SetUp() override { set_log_level(LogLevel::kOff); }
  void TearDown() override { set_log_level(LogLevel::kInfo); }
};

TEST_F(Checkpoints, SaveAndOpen) {
  CheckpointWriter writer(run, {});
  writer.start();
  save(writer, 12);
  EXPECT_EQ(checkpoint_path(run, 12), run / "checkpoints/step-00000012");
  const Checkpoint latest = latest_checkpoint(run);
  EXPECT_EQ(latest.path, checkpoint_path(run, 12));
  EXPECT_EQ(latest.state.rows, 96);
  EXPECT_EQ(SafetensorsFile(latest.path / "model.safetensors").tensor("w")[0].item<float>(), 12);
  EXPECT_TRUE(SafetensorsFile(latest.path / kOptimizerFile).tensors().contains("exp_avg/w"));
}

TEST_F(Checkpoints, NothingToResume) {
  EXPECT_TRUE(has(error_of([&] { latest_checkpoint(run); }), "nothing to resume"));
  CheckpointWriter writer(run, {});
  EXPECT_TRUE(has(error_of([&] { writer.resume(); }), "holds no checkpoint"));
}

TEST_F(Checkpoints, KeepsTheLastAndTheBest) {
  CheckpointWriter writer(run, {.keep_last = 2});
  for (int64_t step = 1; step <= 5; ++step) {
    save(writer, step);
    if (step == 1 || step == 2) writer.mark_best(step, 1.0 / static_cast<double>(step));
  }
  EXPECT_EQ(checkpoint_steps(run), (Steps{2, 4, 5}));
  EXPECT_EQ(best_checkpoint(run), checkpoint_path(run, 2));
  writer.mark_best(5, 0.1);
  EXPECT_EQ(checkpoint_steps(run), (Steps{4, 5}));
  save(writer, 6);
  save(writer, 7);
  EXPECT_EQ(checkpoint_steps(run), (Steps{5, 6, 7}));
}

TEST_F(Checkpoints, KeepsNoBestWhenNotAsked) {
  CheckpointWriter writer(run, {.keep_last = 1, .keep_best = false});
  save(writer, 1);
  writer.mark_best(1, 1.0);
  save(writer, 2);
  EXPECT_EQ(checkpoint_steps(run), (Steps{2}));
  EXPECT_FALSE(best_checkpoint(run));
  EXPECT_TRUE(has(error_of([&] { writer.mark_best(1, 1.0); }), "no such checkpoint"));
}

TEST_F(Checkpoints, ADamagedRecordOfTheBestIsNoError) {
  CheckpointWriter writer(run, {});
  save(writer, 1);
  writer.mark_best(1, 1.0);
  dir.write("run/checkpoints/best.json", "{\"step\":");
  EXPECT_FALSE(best_checkpoint(run));
  save(writer, 2);
}

TEST_F(Checkpoints, ABitFlipIsNamedAndThePreviousOneServes) {
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "state.json"}) {
    CheckpointWriter writer(dir / file, {});
    save(writer, 1);
    save(writer, 2);
    damage(checkpoint_path(dir / file, 2) / file);
    EXPECT_TRUE(has(error_of([&] { open_checkpoint(checkpoint_path(dir / file, 2)); }), file));
    EXPECT_EQ(latest_checkpoint(dir / file).state.step, 1);
  }
}

TEST_F(Checkpoints, AMissingFileMakesItIncomplete) {
  CheckpointWriter writer(run, {});
  for (const char* file :
       {"model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}) {
    save(writer, 1);
    save(writer, 2);
    fs::remove(checkpoint_path(run, 2) / file);
    EXPECT_EQ(latest_checkpoint(run).state.step, 1) << file;
  }
  fs::remove_all(checkpoint_path(run, 1));
  EXPECT_TRUE(has(error_of([&] { latest_checkpoint(run); }), "is damaged"));
}

TEST_F(Checkpoints, ARenamedCheckpointIsNotTrusted) {
  CheckpointWriter writer(run, {});
  save(writer, 1);
  fs::copy(checkpoint_path(run, 1), checkpoint_path(run, 9), fs::copy_options::recursive);
  EXPECT_EQ(latest_checkpoint(run).state.step, 1);
}

TEST_F(Checkpoints, ResumeSetsDamagedOnesAside) {
  CheckpointWriter writer(run, {.keep_last = 1});
  save(writer, 1);
  fs::copy(checkpoint_path(run, 1), checkpoint_path(run, 5), fs::copy_options::recursive);
  damage(checkpoint_path(run, 5) / "model.safetensors");
  EXPECT_EQ(writer.resume().state.step, 1);
  EXPECT_EQ(checkpoint_steps(run), (Steps{1}));
  EXPECT_TRUE(fs::exists(run / "checkpoints/damaged-step-00000005"));
  save(writer, 3);
  EXPECT_EQ(latest_checkpoint(run).state.step, 3);
}

TEST_F(Checkpoints, ANewRunDoesNotMixWithAnOldOne) {
  {
    CheckpointWriter writer(run, {});
    save(writer, 4);
  }
  CheckpointWriter writer(run, {});
  EXPECT_TRUE(has(error_of([&] { writer.start(); }), "already holds a run, trained to step 4"));
}

TEST_F(Checkpoints, OneWriterAtATime) {
  CheckpointWriter writer(run, {});
  EXPECT_TRUE(
      has(error_of([&] { CheckpointWriter second(run, {}); }), "another process is training"));
}

TEST_F(Checkpoints, SavingAStepAgainReplacesIt) {
  CheckpointWriter writer(run, {});
  save(writer, 1);
  damage(checkpoint_path(run, 1) / "model.safetensors");
  save(writer, 1);
  EXPECT_EQ(latest_checkpoint(run).state.step, 1);
}

TEST_F(Checkpoints, AFailedSaveLeavesNothing) {
  CheckpointWriter writer(run, {});
  save(writer, 1);
  EXPECT_THROW(writer.save({.step = 2}, [](const fs::path&) { fail("disk full"); }), Error);
  EXPECT_EQ(checkpoint_steps(run), (Steps{1}));
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(run / "checkpoints")) ++entries;
  EXPECT_EQ(entries, 1u);
}

TEST_F(Checkpoints, LeftoversAreRemovedAndForeignNamesLeftAlone) {
  dir.write("run/checkpoints/.step-00000003.tmp-123-0/model.safetensors", "half");
  dir.write("run/checkpoints/.step-00000001.removed/model.safetensors", "half");
  dir.write("run/checkpoints/step-final/notes.txt", "mine");
  dir.write("run/checkpoints/step-5/notes.txt", "mine");
  CheckpointWriter writer(run, {});
  EXPECT_FALSE(fs::exists(run / "checkpoints/.step-00000003.tmp-123-0"));
  EXPECT_FALSE(fs::exists(run / "checkpoints/.step-00000001.removed"));
  EXPECT_TRUE(fs::exists(run / "checkpoints/step-final/notes.txt"));
  EXPECT_TRUE(checkpoint_steps(run).empty());
}

}  // namespace
}  // namespace continuo
