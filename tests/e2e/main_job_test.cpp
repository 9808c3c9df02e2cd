// The real binary, from pairs to completions, and what it says when something is wrong.
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <signal.h>

#include "e2e/binary.h"
#include "e2e/experiment.h"
#include "nn/cpu/kernels/kernels.h"
#include "support/temp_dir.h"
#include "train/checkpoint.h"

namespace continuo {
namespace {

TEST(MainJob, TrainsEvaluatesInspectsAndGenerates) {
  const TempDir directory;
  write_experiment(directory);
  const Outcome trained = run(directory, {"train", "x.yaml"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE(trained.out.find("step-00000030"), std::string::npos) << trained.out;
  EXPECT_NE(trained.err.find("eval loss"), std::string::npos);
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.model", "prompt.yaml",
                           "experiment.yaml", "state.json", "optimizer.safetensors"}) {
    EXPECT_TRUE(fs::exists(directory / ("run/checkpoints/step-00000030/" + std::string(file))))
        << file;
  }

  const Outcome text =
      run(directory, {"generate", "run", "--prompt", "What is 3 plus one?", "seed=3"});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_FALSE(text.out.empty());
  const Outcome json = run(directory, {"generate", "run", "--prompt", "What is 3 plus one?",
                                       "--json", "samples=2", "seed=3"});
  ASSERT_EQ(json.code, 0) << json.err;
  const auto first = nlohmann::json::parse(json.out.substr(0, json.out.find('\n')));
  EXPECT_EQ(first["text"].get<std::string>() + "\n", text.out);
  EXPECT_FALSE(first["tokens"].empty());

  const Outcome one =
      run(directory, {"eval", "run", "--data", "rows.jsonl", "--json", "micro_tokens=1"});
  const Outcome all =
      run(directory, {"eval", "run", "--data", "rows.jsonl", "--json", "micro_tokens=100000"});
  ASSERT_EQ(one.code, 0) << one.err;
  ASSERT_EQ(all.code, 0) << all.err;
  EXPECT_NEAR(nlohmann::json::parse(one.out)["loss"].get<double>(),
              nlohmann::json::parse(all.out)["loss"].get<double>(), 1e-5);

  const Outcome inspected = run(directory, {"inspect", "x.yaml"});
  EXPECT_EQ(inspected.code, 0) << inspected.err;
  for (const char* part : {"# x.yaml:", "model.embed_tokens.weight", "⟦"}) {
    EXPECT_NE(inspected.out.find(part), std::string::npos) << part << "\n" << inspected.out;
  }
  EXPECT_EQ(run(directory, {"inspect", "run"}).code, 0);
}

TEST(MainJob, DraftsChangeSpeedAlone) {
  const TempDir directory;
  write_experiment(directory);
  ASSERT_EQ(run(directory, {"train", "x.yaml"}).code, 0);
  const std::vector<std::string> plain = {"generate",
                                          "run",
                                          "--prompt",
                                          "What is 3 plus one? What is 3 plus",
                                          "--json",
                                          "temperature=0.5",
                                          "max_new_tokens=60",
                                          "ignore_eos=true"};
  const auto with = [&](const std::string& draft) {
    std::vector<std::string> arguments = plain;
    if (!draft.empty()) arguments.insert(arguments.end(), {"--draft", draft});
    return run(directory, arguments);
  };
  const auto expected = nlohmann::json::parse(with("").out);
  EXPECT_EQ(expected["timings"]["drafted_tokens"].get<int>(), 0);
  for (const char* draft : {"lookup", "self", "run"}) {
    const Outcome outcome = with(draft);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const auto drafted = nlohmann::json::parse(outcome.out);
    EXPECT_EQ(drafted["tokens"], expected["tokens"]) << draft;
    if (std::string_view(draft) == "run")
      continue;  // a draft as dear as the model itself is not worth asking
    EXPECT_GT(drafted["timings"]["accepted_tokens"].get<int>(), 0) << draft;
    EXPECT_NE(outcome.err.find("drafted tokens"), std::string::npos) << outcome.err;
  }
  const Outcome missing = with("lokup");
  EXPECT_EQ(missing.code, 1);
  EXPECT_NE(missing.err.find("there is no model at lokup"), std::string::npos) << missing.err;
}

// Kills a run of the experiment in `file` after its first checkpoint, goes on with it for another
// ten steps, and expects the `files` of its last checkpoint to be those of a run that nobody
// killed.
void expect_a_kill_changes_nothing(const TempDir& directory, const std::string& file,
                                   const std::vector<std::string>& files) {
  const auto arguments = [&](const std::string& run_dir, int64_t steps) {
    // A constant rate: no step depends on how many there will be.
    return std::vector<std::string>{"train", file, "run_dir=" + run_dir, "schedule.kind=constant",
                                    fmt::format("train.steps={}", steps)};
  };
  const Process process(directory, arguments("killed", 100000));
  wait_for(directory / "killed/checkpoints/step-00000010/manifest.json");
  process.send(SIGKILL);
  ASSERT_EQ(process.wait().code, -SIGKILL);
  const int64_t steps = checkpoint_steps(directory / "killed").back() + 10;
  std::vector<std::string> onward = arguments("killed", steps);
  onward.push_back("--resume");
  const Outcome resumed = run(directory, onward),
                unbroken = run(directory, arguments("unbroken", steps));
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  ASSERT_EQ(unbroken.code, 0) << unbroken.err;
  const std::string last = fmt::format("checkpoints/step-{:08}", steps);
  for (const std::string& name : files) {
    const std::string bytes = test::read_file(directory / "killed" / last / name);
    EXPECT_FALSE(bytes.empty()) << name;
    EXPECT_TRUE(bytes == test::read_file(directory / "unbroken" / last / name)) << name;
  }
}

TEST(MainJob, AKilledRunResumesToTheSameWeights) {
  const TempDir directory;
  write_experiment(directory);
  expect_a_kill_changes_nothing(directory, "x.yaml",
                                {"model.safetensors", "optimizer.safetensors"});
  // Another schedule is another run: refused by name, nothing lost.
  const Outcome refused = run(directory, {"train", "x.yaml", "run_dir=killed", "--resume"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.err.find("schedule"), std::string::npos) << refused.err;
}

TEST(MainJob, AResumeSaysWhatItComputesWithWhenThatIsNew) {
  const TempDir directory;
  write_experiment(directory);
  const std::string best = kernels().instruction_set;
  const Outcome first = run(directory, {"train", "x.yaml", "schedule.kind=constant"});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_NE(first.err.find(fmt::format("fp32 on cpu ({}) with 1 threads", best)), std::string::npos)
      << first.err;
  const auto resume = [&](int64_t steps, std::vector<std::string> more,
                          const std::vector<std::string>& environment) {
    std::vector<std::string> arguments = {"train", "x.yaml", "schedule.kind=constant",
                                          fmt::format("train.steps={}", steps), "--resume"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run(directory, arguments, environment);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.err;
  };
  EXPECT_EQ(resume(40, {}, {}).find("goes on with"), std::string::npos);
  const std::string fewer = resume(50, {"threads=2"}, {});
  EXPECT_NE(fewer.find("made with 1 threads and goes on with 2 threads"), std::string::npos)
      << fewer;
  if (best == "portable") return;
  const std::string other = resume(60, {"threads=2"}, {"CONTINUO_ISA=portable"});
  EXPECT_NE(other.find(fmt::format("made with {} and goes on with portable", best)),
            std::string::npos)
      << other;
  const Outcome inspected = run(directory, {"inspect", "run"});
  EXPECT_NE(inspected.out.find("computed with 2 threads in fp32 (portable)"), std::string::npos)
      << inspected.out;
}

TEST(MainJob, AnInterruptSavesAndSaysHowToGoOn) {
  const TempDir directory;
  write_experiment(directory);
  const Process process(directory, {"train", "x.yaml", "train.steps=100000"});
  wait_for(directory / "run/checkpoints/step-00000010/manifest.json");
  process.send(SIGINT);
  const Outcome outcome = process.wait();
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("--resume"), std::string::npos) << outcome.err;
}

// A base from "run" and adapters trained on it in "adapted".
TEST(MainJob, AdaptersTrainResumeGenerateAndMerge) {
  const TempDir directory;
  write_experiment(directory);
  ASSERT_EQ(run(directory, {"train", "x.yaml"}).code, 0);
  directory.write("lora.yaml", R"(extends: x.yaml
run_dir: adapted
tokenizer: {train: {inputs: []}}
model: {from: run}
lora: {rank: 4, dropout: 0.1, targets: [q_proj, v_proj, down_proj]}
)");
  const fs::path base_file = directory / "run/checkpoints/step-00000030/model.safetensors";
  const std::string base_bytes = test::read_file(base_file);
  const Outcome trained = run(directory, {"train", "lora.yaml"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE(trained.err.find("parameters are trained ("), std::string::npos) << trained.err;
  EXPECT_TRUE(test::read_file(base_file) == base_bytes);
  const fs::path last = directory / "adapted/checkpoints/step-00000030";
  for (const char* file :
       {"adapter_config.json", "adapter_model.safetensors", "tokenizer.model", "prompt.yaml",
        "experiment.yaml", "state.json", "optimizer.safetensors"}) {
    EXPECT_TRUE(fs::exists(last / file)) << file;
  }
  EXPECT_FALSE(fs::exists(last / "model.safetensors"));

  expect_a_kill_changes_nothing(directory, "lora.yaml",
                                {"adapter_model.safetensors", "optimizer.safetensors"});

  const std::string adapter = last.string();
  const Outcome merged = run(directory, {"merge", adapter, "--out", "merged"});
  ASSERT_EQ(merged.code, 0) << merged.err;
  EXPECT_EQ(run(directory, {"merge", adapter, "--out", "merged"}).code, 1);
  EXPECT_EQ(run(directory, {"merge", "merged", "--out", "again"}).code, 1);
  const std::vector<std::string> question = {"--prompt", "What is 3 plus one?", "--json", "seed=3"};
  const auto answer = [&](std::vector<std::string> words) {
    words.insert(words.end(), question.begin(), question.end());
    const Outcome outcome = run(directory, words);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out)["tokens"];
  };
  // Served, an adapter is rows on top of its base; merged, it is rounded into the weights.
  const auto expect_same_answer = [&](const nlohmann::json& found, const nlohmann::json& wanted) {
    ASSERT_EQ(found.size(), wanted.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i]["id"], wanted[i]["id"]);
      EXPECT_NEAR(found[i]["logprob"].get<double>(), wanted[i]["logprob"].get<double>(), 1e-5);
    }
  };
  const nlohmann::json merged_answer = answer({"generate", "merged"});
  expect_same_answer(answer({"generate", adapter}), merged_answer);
  const auto loss = [&](const std::string& model) {
    const Outcome outcome = run(directory, {"eval", model, "--data", "rows.jsonl", "--json"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out)["loss"].get<double>();
  };
  EXPECT_NEAR(loss(adapter), loss("merged"), 1e-6);
  EXPECT_LT(loss(adapter), loss("run"));
  EXPECT_NE(run(directory, {"inspect", adapter}).out.find("rank 4"), std::string::npos);

  // The adapter goes on in a run of its own.
  const Outcome onward = run(
      directory, {"train", "lora.yaml", "run_dir=onward", "lora={from: adapted}", "train.steps=1"});
  EXPECT_EQ(onward.code, 0) << onward.err;

  // A base that moved is asked for, another one is refused.
  fs::rename(directory / "run", directory / "moved");
  const Outcome gone = run(directory, {"generate", adapter, "--prompt", "x"});
  EXPECT_EQ(gone.code, 1);
  EXPECT_NE(gone.err.find("--base"), std::string::npos) << gone.err;
  expect_same_answer(answer({"generate", adapter, "--base", "moved"}), merged_answer);
  const Outcome wrong = run(directory, {"generate", adapter, "--base", "merged", "--prompt", "x"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_NE(wrong.err.find("is not the model"), std::string::npos) << wrong.err;
}

TEST(MainJob, WrongUsageIsTwoAndFaultsAreOneWithTheirPlace) {
  const TempDir directory;
  write_experiment(directory);
  EXPECT_EQ(run(directory, {}).code, 2);
  EXPECT_EQ(run(directory, {"trian"}).code, 2);
  EXPECT_EQ(run(directory, {"train", "missing.yaml"}).code, 2);
  EXPECT_EQ(run(directory, {"--help"}).code, 0);
  const Outcome typo = run(directory, {"train", "x.yaml", "train.lrr=1"});
  EXPECT_NE(typo.code, 0);
  EXPECT_NE(typo.err.find("lr"), std::string::npos);
  directory.write("rows.jsonl",
                  "{\"question\": \"a\", \"answer\": \"b\"}\n{\"question\": \"a\"}\n");
  const Outcome faulty = run(directory, {"train", "x.yaml", "tokenizer.train.vocab_size=263"});
  EXPECT_EQ(faulty.code, 1);
  EXPECT_NE(faulty.err.find("rows.jsonl:2"), std::string::npos) << faulty.err;
  const Outcome nothing = run(directory, {"generate", "nowhere", "--prompt", "x"});
  EXPECT_EQ(nothing.code, 1);
  EXPECT_NE(nothing.err.find("nowhere"), std::string::npos);
}

TEST(MainJob, AWrongEnvironmentIsAnErrorBeforeAnythingStarts) {
  const TempDir directory;
  write_experiment(directory);
  const Outcome kernels = run(directory, {"train", "x.yaml"}, {"CONTINUO_ISA=avx3"});
  EXPECT_EQ(kernels.code, 1);
  EXPECT_NE(kernels.err.find("error: CONTINUO_ISA=avx3"), std::string::npos) << kernels.err;
  const Outcome products = run(directory, {"train", "x.yaml"}, {"CONTINUO_MATMUL=mine"});
  EXPECT_EQ(products.code, 1);
  EXPECT_NE(products.err.find("error: CONTINUO_MATMUL=mine"), std::string::npos) << products.err;
  EXPECT_FALSE(fs::exists(directory / "run"));
}

}  // namespace
}  // namespace continuo
