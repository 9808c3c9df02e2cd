// Commands as several processes, started by the binary itself and as launchers start it.
#include <algorithm>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <signal.h>

#include "e2e/binary.h"
#include "e2e/experiment.h"
#include "io/safetensors.h"
#include "train/checkpoint.h"

namespace continuo {
namespace {

std::vector<std::string> train(const std::string& run_dir,
                               const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"train", "x.yaml", "run_dir=" + run_dir,
                                        "schedule.kind=constant", "train.steps=12"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

double largest_difference(const fs::path& a, const fs::path& b) {
  const SafetensorsFile x(latest_checkpoint(a).path / "model.safetensors"),
      y(latest_checkpoint(b).path / "model.safetensors");
  EXPECT_EQ(x.tensors().size(), y.tensors().size());
  double largest = 0;
  for (const auto& [name, info] : x.tensors())
    largest = std::max(largest, (x.tensor(name) - y.tensor(name)).abs().max().item<double>());
  return largest;
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  std::ifstream file(fmt::format("/proc/{}/task/{}/children", parent, parent));
  for (pid_t child; file >> child;) children.push_back(child);
  return children;
}

TEST(RanksCommand, StartsItsOwnAndTrainsAsOneProcess) {
  const TempDir directory;
  write_experiment(directory);
  ASSERT_EQ(run(directory, train("one")).code, 0);
  const Outcome two = run(directory, train("two", {"ranks=2"}));
  ASSERT_EQ(two.code, 0) << two.err;
  EXPECT_EQ(count(two.out, "step-00000012"), 1u) << two.out;
  EXPECT_EQ(count(two.err, "samples at step"), 1u) << two.err;
  EXPECT_NE(two.err.find("on each of 2 ranks"), std::string::npos) << two.err;
  EXPECT_LT(largest_difference(directory / "one", directory / "two"), 5e-6);
  const Checkpoint last = latest_checkpoint(directory / "two");
  EXPECT_EQ(last.state.arithmetic.ranks, 2);

  // On with another number of them: said, and the run does not care otherwise.
  const Outcome more = run(directory, train("two", {"ranks=3", "train.steps=15", "--resume"}));
  ASSERT_EQ(more.code, 0) << more.err;
  EXPECT_EQ(count(more.err, "2 ranks and goes on with 3 ranks"), 1u) << more.err;
  EXPECT_EQ(latest_checkpoint(directory / "two").state.step, 15);
}

TEST(RanksCommand, PartsTheWeightsOfAModelFromScratch) {
  const TempDir directory;
  write_experiment(directory);
  const std::vector<std::string> parted = {"model.layers=3", "train.shard=all", "ranks=2"};
  ASSERT_EQ(run(directory, train("one", {"model.layers=3"})).code, 0);
  const Outcome two = run(directory, train("two", parted));
  ASSERT_EQ(two.code, 0) << two.err;
  EXPECT_LT(largest_difference(directory / "one", directory / "two"), 5e-6);
}

// From a directory, whose weights no rank ever holds whole, and on from a checkpoint.
TEST(RanksCommand, PartsTheWeightsOfAModel) {
  const TempDir directory;
  write_experiment(directory);
  const Outcome base = run(directory, train("base", {"model.layers=3", "train.steps=2"}));
  ASSERT_EQ(base.code, 0) << base.err;
  directory.write("tuned.yaml", R"(threads: 1
device: cpu
model: {from: base}
data: {train: [{path: rows.jsonl}], eval_share: 0.1, cache: cache}
batch: {rows: 8, micro_tokens: 64}
schedule: {kind: constant}
train: {lr: 5e-3, steps: 12, eval_every: 5, shard: all}
checkpoint: {every: 6}
samples: ["What is 3 plus one?"]
)");
  const auto tune = [&](const std::string& run_dir, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"train", "tuned.yaml", "run_dir=" + run_dir};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run(directory, arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
  };
  tune("one", {});
  tune("two", {"ranks=2"});
  EXPECT_LT(largest_difference(directory / "one", directory / "two"), 5e-6);
  tune("parts", {"ranks=3", "train.steps=6"});
  tune("parts", {"ranks=2", "--resume"});
  EXPECT_LT(largest_difference(directory / "one", directory / "parts"), 5e-6);
  const auto eval_loss = [&](const std::string& run_dir) {
    return *latest_checkpoint(directory / run_dir).state.best_eval_loss;
  };
  EXPECT_NEAR(eval_loss("one"), eval_loss("two"), 1e-5);

  // Adapters stay whole, the frozen weights below them are parted.
  tune("lora_one", {"lora.rank=4"});
  tune("lora_two", {"lora.rank=4", "ranks=2"});
  EXPECT_NEAR(eval_loss("lora_one"), eval_loss("lora_two"), 1e-5);
  tune("lora_q8", {"lora.rank=4", "lora.base_weights=q8"});
  tune("lora_q8_two", {"lora.rank=4", "lora.base_weights=q8", "ranks=2"});
  EXPECT_NEAR(eval_loss("lora_q8"), eval_loss("lora_q8_two"), 1e-5);
}

TEST(RanksCommand, RunsUnderEveryLauncher) {
  const TempDir directory;
  write_experiment(directory);
  ASSERT_EQ(run(directory, train("one")).code, 0);
  struct Kind {
    std::string name;
    std::function<std::vector<std::string>(int rank)> variables;
  };
  const int port = 20000 + getpid() % 12000;
  const std::string meet = fmt::format("MASTER_PORT={}", port);
  const std::vector<Kind> kinds = {
      {"variables",
       [&](int rank) {
         return std::vector<std::string>{fmt::format("RANK={}", rank),
                                         "WORLD_SIZE=2",
                                         fmt::format("LOCAL_RANK={}", rank),
                                         "LOCAL_WORLD_SIZE=2",
                                         "MASTER_ADDR=127.0.0.1",
                                         meet};
       }},
      {"openmpi",
       [&](int rank) {
         return std::vector<std::string>{fmt::format("OMPI_COMM_WORLD_RANK={}", rank),
                                         "OMPI_COMM_WORLD_SIZE=2",
                                         fmt::format("OMPI_COMM_WORLD_LOCAL_RANK={}", rank),
                                         "OMPI_COMM_WORLD_LOCAL_SIZE=2", meet};
       }},
      {"mpich",
       [&](int rank) {
         return std::vector<std::string>{fmt::format("PMI_RANK={}", rank), "PMI_SIZE=2",
                                         fmt::format("MPI_LOCALRANKID={}", rank),
                                         "MPI_LOCALNRANKS=2", meet};
       }},
      {"slurm",
       [&](int rank) {
         return std::vector<std::string>{
             fmt::format("SLURM_PROCID={}", rank), "SLURM_STEP_NUM_TASKS=2",
             fmt::format("SLURM_LOCALID={}", rank), "SLURM_STEP_TASKS_PER_NODE=2",
             fmt::format("SLURM_JOB_ID={}", port)};
       }},
  };
  for (const Kind& kind : kinds) {
    const Process first(directory, train(kind.name), kind.variables(0), "0"),
        second(directory, train(kind.name), kind.variables(1), "1");
    const Outcome a = first.wait(), b = second.wait();
    EXPECT_EQ(a.code, 0) << kind.name << a.err;
    EXPECT_EQ(b.code, 0) << kind.name << b.err;
    EXPECT_NE(a.out.find("step-00000012"), std::string::npos);
    EXPECT_EQ(b.out + b.err, "") << "only the first rank speaks";
    if (a.code == 0 && b.code == 0) {
      EXPECT_LT(largest_difference(directory / "one", directory / kind.name), 5e-6) << kind.name;
    }
  }
}

TEST(RanksCommand, SaysWhatIsWrongOnce) {
  const TempDir directory;
  write_experiment(directory);
  const Outcome contradiction =
      run(directory, train("x", {"ranks=3"}), {"RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1"});
  EXPECT_EQ(contradiction.code, 1);
  EXPECT_NE(contradiction.err.find("ranks=3"), std::string::npos) << contradiction.err;
  EXPECT_EQ(run(directory, train("x", {"ranks=2", "train.lr=-1"})).code, 1);

  ASSERT_EQ(run(directory, train("done", {"ranks=2"})).code, 0);
  const Outcome again = run(directory, train("done", {"ranks=2"}));
  EXPECT_EQ(again.code, 1);
  EXPECT_EQ(count(again.err, "continue it with --resume"), 1u) << again.err;
  EXPECT_NE(again.err.find("rank 0 stopped"), std::string::npos) << again.err;
}

TEST(RanksCommand, EndsWhenARankIsKilledAndGoesOn) {
  const TempDir directory;
  write_experiment(directory);
  for (const size_t victim : {0, 1}) {
    const std::string run_dir = fmt::format("killed{}", victim);
    const Process process(directory, train(run_dir, {"ranks=2", "train.steps=100000"}));
    wait_for(directory / (run_dir + "/checkpoints/step-00000010/manifest.json"));
    const std::vector<pid_t> ranks = children_of(process.id());
    ASSERT_EQ(ranks.size(), 2u);
    kill(ranks[victim], SIGKILL);
    const Outcome outcome = process.wait();
    EXPECT_EQ(outcome.code, 128 + SIGKILL);
    EXPECT_NE(outcome.err.find(fmt::format("rank {} was ended by signal 9", victim)),
              std::string::npos)
        << outcome.err;
    EXPECT_NE(outcome.err.find(fmt::format("rank {} of 2, step ", 1 - victim)), std::string::npos)
        << outcome.err;
    const int64_t steps = checkpoint_steps(directory / run_dir).back() + 3;
    const Outcome resumed = run(
        directory, train(run_dir, {"ranks=2", "--resume", fmt::format("train.steps={}", steps)}));
    EXPECT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_EQ(latest_checkpoint(directory / run_dir).state.step, steps);
  }
}

TEST(RanksCommand, AnInterruptSavesOneStepForAll) {
  const TempDir directory;
  write_experiment(directory);
  const Process process(directory, train("run", {"ranks=2", "train.steps=100000"}));
  wait_for(directory / "run/checkpoints/step-00000010/manifest.json");
  process.send(SIGINT);
  const Outcome outcome = process.wait();
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(count(outcome.err, "interrupted at step"), 1u) << outcome.err;
  EXPECT_EQ(outcome.err.find("failed"), std::string::npos) << outcome.err;
  const int64_t step = latest_checkpoint(directory / "run").state.step;
  EXPECT_NE(outcome.err.find(fmt::format("interrupted at step {}", step)), std::string::npos);
}

TEST(RanksCommand, EndWithTheProcessThatStartedThem) {
  const TempDir directory;
  write_experiment(directory);
  const Process process(directory, train("run", {"ranks=2", "train.steps=100000"}));
  wait_for(directory / "run/checkpoints/step-00000010/manifest.json");
  const std::vector<pid_t> ranks = children_of(process.id());
  process.send(SIGKILL);
  EXPECT_EQ(process.wait().code, -SIGKILL);
  const auto gone = [&] {
    return std::ranges::none_of(ranks, [](pid_t p) { return kill(p, 0) == 0; });
  };
  for (int i = 0; i < 600 && !gone(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(gone());
  EXPECT_GT(latest_checkpoint(directory / "run").state.step, 0);
}

TEST(RanksCommand, ReportTokensAndLogitsAsOneProcessDoes) {
  const TempDir directory;
  write_experiment(directory);
  ASSERT_EQ(run(directory, train("run")).code, 0);
  const auto report = [&](const std::string& name, const std::string& ranks) {
    const Outcome outcome =
        run(directory, {"eval", "run", "--data", "rows.jsonl", "micro_tokens=200", "ranks=" + ranks,
                        "--tokens", name + ".jsonl", "--logits", name + ".safetensors"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
  };
  report("one", "1");
  report("three", "3");
  EXPECT_GT(read_file(directory / "one.jsonl").size(), 1000u);
  EXPECT_EQ(read_file(directory / "three.jsonl"), read_file(directory / "one.jsonl"));
  EXPECT_EQ(read_file(directory / "three.safetensors"), read_file(directory / "one.safetensors"));
}

TEST(RanksCommand, EvaluateAndGenerateWhatOneProcessDoes) {
  const TempDir directory;
  write_experiment(directory);
  ASSERT_EQ(run(directory, train("run")).code, 0);
  const std::vector<std::string> eval = {"eval",       "run",    "--data",
                                         "rows.jsonl", "--json", "micro_tokens=200"};
  std::vector<std::string> parted = eval;
  parted.push_back("ranks=3");
  const Outcome one = run(directory, eval), three = run(directory, parted);
  ASSERT_EQ(three.code, 0) << three.err;
  const auto a = nlohmann::json::parse(one.out), b = nlohmann::json::parse(three.out);
  EXPECT_NEAR(a["loss"].get<double>(), b["loss"].get<double>(), 1e-9);
  for (const char* key : {"accuracy", "tokens", "rows"}) EXPECT_EQ(a[key], b[key]) << key;

  std::string prompts;
  for (int i = 0; i < 7; ++i) prompts += fmt::format("What is {} plus one?\n", i);
  directory.write("prompts.txt", prompts);
  const std::vector<std::string> generate = {"generate",    "run",       "--file",
                                             "prompts.txt", "samples=2", "seed=5"};
  const auto on_ranks = [&](std::vector<std::string> arguments, const std::string& ranks) {
    arguments.insert(arguments.end(), {"--ranks", ranks});
    return run(directory, arguments);
  };
  const Outcome expected = run(directory, generate);
  ASSERT_EQ(expected.code, 0) << expected.err;
  for (const char* ranks : {"2", "9"}) {
    const Outcome got = on_ranks(generate, ranks);
    EXPECT_EQ(got.code, 0) << got.err;
    EXPECT_EQ(got.out, expected.out);
  }
  std::vector<std::string> lines = generate;
  lines.push_back("--json");
  const auto texts = [](const Outcome& outcome) {
    std::vector<std::string> all;
    std::istringstream stream(outcome.out);
    for (std::string line; std::getline(stream, line);)
      all.push_back(nlohmann::json::parse(line)["text"]);
    return all;
  };
  EXPECT_EQ(texts(run(directory, lines)), texts(on_ranks(lines, "2")));
  EXPECT_EQ(on_ranks({"generate", "run", "-"}, "2").code, 2);
}

// As users start it. `--no-python`: torchrun runs the binary itself.
TEST(RanksCommand, RunsUnderTorchrunItself) {
  if (std::system("torchrun --help > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "torchrun is not installed";
  const TempDir directory;
  write_experiment(directory);
  const std::string command = fmt::format(
      "cd {} && torchrun --nproc-per-node 2 --standalone --no-python {} train x.yaml train.steps=5 "
      "> out 2> err",
      directory.path().string(), CONTINUO_BINARY);
  EXPECT_EQ(std::system(command.c_str()), 0) << test::read_file(directory / "err");
  EXPECT_EQ(latest_checkpoint(directory / "run").state.arithmetic.ranks, 2);
}

TEST(RanksCommand, RunsUnderMpirunItself) {
  if (std::system("mpirun --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "mpirun is not installed";
  const TempDir directory;
  write_experiment(directory);
  const std::string command = fmt::format(
      "cd {} && mpirun --allow-run-as-root --oversubscribe -n 2 {} train x.yaml train.steps=5 "
      "> out 2> err",
      directory.path().string(), CONTINUO_BINARY);
  EXPECT_EQ(std::system(command.c_str()), 0) << test::read_file(directory / "err");
  EXPECT_EQ(latest_checkpoint(directory / "run").state.arithmetic.ranks, 2);
}

}  // namespace
}  // namespace continuo
