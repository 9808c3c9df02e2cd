// Training of adapters through the trainer: what learns, what stays, and that dropout's noise
// survives everything.
#include <algorithm>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/training.h"

namespace continuo {
namespace {

using test::byte_store;
using test::max_difference;
using test::RunOptions;
using test::RunResult;
using test::train_run;

RunOptions lora_run(const LoraOptions& lora) {
  RunOptions options;
  options.lora = lora;
  return options;
}

class LoraTraining : public testing::TestWithParam<ComputeType> {};

TEST_P(LoraTraining, AdaptersLearnTheBaseStaysBitForBit) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 12);
  for (const bool dora : {false, true}) {
    RunOptions options = lora_run({.rank = 8, .alpha = 16, .dora = dora});
    options.train.dtype = GetParam();
    options.batch.rows = 12;
    options.train.steps = 80;
    options.train.lr = 1e-2;
    const auto run_dir = directory / (dora ? "dora" : "lora");
    const RunResult run = train_run(run_dir, store, options);
    std::vector<double> losses;
    std::ifstream file(run_dir / "metrics.jsonl");
    for (std::string line; std::getline(file, line);)
      losses.push_back(nlohmann::json::parse(line)["loss"].get<double>());
    EXPECT_LT(losses.back(), 0.6 * losses.front()) << dora;

    const auto base = test::tiny_model(test::byte_model_spec());
    const auto untouched = base->parameters();
    ASSERT_EQ(run.frozen.size(), untouched.size());
    for (size_t i = 0; i < untouched.size(); ++i)
      EXPECT_TRUE(run.frozen[i].equal(untouched[i])) << i;
    // Two moments for each adapter tensor, and the step.
    EXPECT_EQ(run.optimizer_state.size(), 1 + 2 * run.weights.size());
    EXPECT_EQ(run.weights.size(), 14u * (dora ? 3 : 2));
    for (const std::string& name : run.optimizer_state) {
      EXPECT_TRUE(name == "step" || name.find(".lora_") != std::string::npos) << name;
    }
  }
}

TEST_P(LoraTraining, AKilledRunWithDropoutEndsWithTheSameBits) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 20);
  RunOptions options = lora_run({.rank = 4, .alpha = 8, .dropout = 0.2});
  options.checkpoint_every = 3;
  options.train.steps = 11;
  options.train.dtype = GetParam();
  options.batch.micro_tokens = 40;
  const RunResult whole = train_run(directory / "whole", store, options);
  const pid_t child = fork();
  if (child == 0) {
    RunOptions dying = options;
    dying.train.sample_every = 8;
    train_run(directory / "killed", store, dying, [](int64_t) { kill(getpid(), SIGKILL); });
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  options.resume = true;
  const RunResult resumed = train_run(directory / "killed", store, options);
  ASSERT_EQ(whole.weights.size(), resumed.weights.size());
  for (size_t i = 0; i < whole.weights.size(); ++i)
    EXPECT_TRUE(whole.weights[i].equal(resumed.weights[i])) << i;
}
INSTANTIATE_TEST_SUITE_P(Types, LoraTraining,
                         testing::Values(ComputeType::kFloat32, ComputeType::kBfloat16),
                         [](const auto& test) {
                           return test.param == ComputeType::kFloat32 ? "fp32" : "bf16";
                         });

TEST(LoraDropout, NoiseIsTheSameForEverySplitAndUnderRecomputation) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 20);
  std::vector<RunResult> runs;
  for (const auto& [micro, recompute] :
       std::vector<std::pair<int64_t, bool>>{{1, false}, {45, true}, {1 << 20, false}}) {
    RunOptions options = lora_run({.rank = 4, .alpha = 8, .dropout = 0.2});
    options.batch.micro_tokens = micro;
    options.train.recompute = recompute;
    options.train.steps = 5;
    options.train.lr = 1e-3;
    runs.push_back(train_run(directory / ("split" + std::to_string(micro)), store, options));
  }
  for (size_t r = 1; r < runs.size(); ++r) {
    for (size_t i = 0; i < runs[0].weights.size(); ++i) {
      EXPECT_LT(max_difference(runs[r].weights[i], runs[0].weights[i]), 2e-4)
          << "run " << r << " parameter " << i;
    }
  }
  // Without dropout training goes elsewhere: the test sees it.
  RunOptions plain = lora_run({.rank = 4, .alpha = 8});
  plain.train.steps = 5;
  plain.train.lr = 1e-3;
  const RunResult other = train_run(directory / "plain", store, plain);
  double largest = 0;
  for (size_t i = 0; i < other.weights.size(); ++i) {
    largest = std::max(largest, max_difference(other.weights[i], runs[0].weights[i]));
  }
  EXPECT_GT(largest, 1e-3);
}

}  // namespace
}  // namespace continuo
