#include "train/trainer.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "support/training.h"

namespace continuo {
namespace {

using test::byte_store;
using test::max_difference;
using test::metrics_of;
using test::RunOptions;
using test::RunResult;
using test::train_run;

void expect_equal_bits(const RunResult& a, const RunResult& b) {
  ASSERT_EQ(a.weights.size(), b.weights.size());
  for (size_t i = 0; i < a.weights.size(); ++i)
    EXPECT_TRUE(a.weights[i].equal(b.weights[i])) << "parameter " << i;
}

TEST(Trainer, EveryMicroBatchSplitGivesTheSameTraining) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 20);
  std::vector<RunResult> runs;
  for (const int64_t micro : {1, 20, 45, 1 << 20}) {
    RunOptions options;
    options.batch.micro_tokens = micro;
    options.train.steps = 5;
    options.train.lr = 1e-3;
    runs.push_back(train_run(directory / ("split" + std::to_string(micro)), store, options));
  }
  for (size_t r = 1; r < runs.size(); ++r) {
    EXPECT_EQ(runs[r].state.trained_tokens, runs[0].state.trained_tokens);
    for (size_t i = 0; i < runs[0].weights.size(); ++i) {
      EXPECT_LT(max_difference(runs[r].weights[i], runs[0].weights[i]), 2e-4)
          << "run " << r << " parameter " << i;
    }
  }
  const auto first = metrics_of(directory / "split1"),
             last = metrics_of(directory / "split1048576");
  ASSERT_EQ(first.size(), 5u);
  for (size_t s = 0; s < first.size(); ++s) {
    EXPECT_NEAR(first[s]["loss"].get<double>(), last[s]["loss"].get<double>(), 1e-4);
    EXPECT_NEAR(first[s]["grad_norm"].get<double>(), last[s]["grad_norm"].get<double>(),
                1e-3 * last[s]["grad_norm"].get<double>());
  }
}

class LearningTest : public testing::TestWithParam<ComputeType> {};

// In bf16 this also shows that the copies of the weights follow the optimizer.
TEST_P(LearningTest, LearnsAndCountsWhatItSaw) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 12);
  RunOptions options;
  options.train.dtype = GetParam();
  options.batch.rows = 12;
  options.train.steps = 60;
  options.train.lr = 3e-3;
  const RunResult run = train_run(directory / "run", store, options);
  const auto lines = metrics_of(directory / "run");
  EXPECT_LT(lines.back()["loss"].get<double>(), 0.5 * lines.front()["loss"].get<double>());
  EXPECT_EQ(run.state.step, 60);
  EXPECT_EQ(run.state.rows, 60 * 12);
  EXPECT_EQ(run.state.trained_tokens, 60 * store->report().trained);
  EXPECT_EQ(lines.back()["trained_tokens"].get<int64_t>(), run.state.trained_tokens);
}

const auto kTypes = testing::Values(ComputeType::kFloat32, ComputeType::kBfloat16);
const auto type_name = [](const auto& test) {
  return test.param == ComputeType::kFloat32 ? "fp32" : "bf16";
};
INSTANTIATE_TEST_SUITE_P(Types, LearningTest, kTypes, type_name);

class ResumeTest : public testing::TestWithParam<ComputeType> {};

TEST_P(ResumeTest, ARunKilledBetweenCheckpointsEndsWithTheSameBits) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 20);
  RunOptions options;
  options.checkpoint_every = 3;
  options.train.steps = 11;  // crosses epochs: 20 rows in steps of 6
  options.train.dtype = GetParam();
  options.batch.micro_tokens = 40;
  const RunResult whole = train_run(directory / "whole", store, options);

  // The child dies without any clean-up at step 8: checkpoints of 3 and 6 are there, metrics
  // reach 8.
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
  expect_equal_bits(whole, resumed);
  EXPECT_EQ(resumed.state.trained_tokens, whole.state.trained_tokens);
  const auto a = metrics_of(directory / "whole"), b = metrics_of(directory / "killed");
  ASSERT_EQ(a.size(), 11u);
  ASSERT_EQ(b.size(), 11u);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(b[i]["step"].get<size_t>(), i + 1);
    EXPECT_EQ(a[i]["loss"], b[i]["loss"]);
    EXPECT_EQ(a[i]["grad_norm"], b[i]["grad_norm"]);
  }
}
INSTANTIATE_TEST_SUITE_P(Types, ResumeTest, kTypes, type_name);

TEST(Trainer, AnInterruptSavesAndTheRunGoesOn) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 20);
  RunOptions options;
  options.train.steps = 9;
  const RunResult whole = train_run(directory / "whole", store, options);
  options.train.sample_every = 4;
  install_interrupt_handlers();
  const RunResult stopped = train_run(directory / "stopped", store, options, [](int64_t step) {
    if (step == 4) raise(SIGINT);
  });
  clear_interrupt();
  remove_interrupt_handlers();
  EXPECT_EQ(stopped.outcome, TrainOutcome::kInterrupted);
  EXPECT_EQ(stopped.state.step, 4);
  options.resume = true;
  expect_equal_bits(whole, train_run(directory / "stopped", store, options));
}

// Sums of gradients come in another order: equal up to rounding.
TEST(Trainer, RecomputationChangesNoLoss) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 10);
  RunOptions options;
  options.train.lr = 1e-3;
  train_run(directory / "plain", store, options);
  options.train.recompute = true;
  train_run(directory / "recompute", store, options);
  const auto plain = metrics_of(directory / "plain"),
             recomputed = metrics_of(directory / "recompute");
  ASSERT_EQ(plain.size(), recomputed.size());
  for (size_t s = 0; s < plain.size(); ++s) {
    EXPECT_NEAR(plain[s]["loss"].get<double>(), recomputed[s]["loss"].get<double>(), 2e-3);
  }
}

TEST(Trainer, EvaluationKeepsTheBestAndStopsEarly) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 10);
  RunOptions options;
  options.with_eval = true;
  options.train.eval_every = 1;
  options.train.early_stopping = 2;
  options.train.early_stopping_delta = 1e9;  // nothing is ever good enough after the first
  options.train.steps = 50;
  const RunResult run = train_run(directory / "run", store, options);
  EXPECT_EQ(run.outcome, TrainOutcome::kEarlyStopped);
  EXPECT_EQ(run.state.step, 3);
  ASSERT_TRUE(best_checkpoint(directory / "run").has_value());
  EXPECT_EQ(*best_checkpoint(directory / "run"), checkpoint_path(directory / "run", 1));
}

TEST(Trainer, ALossThatIsNotFiniteStopsAndNamesTheRows) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 10);
  RunOptions options;
  options.train.lr = 1e30;
  options.train.steps = 30;
  try {
    train_run(directory / "run", store, options);
    FAIL() << "a learning rate of 1e30 went unnoticed";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("not finite"), std::string::npos) << text;
    EXPECT_NE(text.find("rows10.jsonl:"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace continuo
