// A run and an adapter of an older release load, go on and generate as they did with that release.
// tests/golden/old_run/README.md says how they came about.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "app/experiment.h"
#include "core/process.h"
#include "e2e/binary.h"
#include "io/safetensors.h"
#include "train/checkpoint.h"
#include "train/manifest.h"
#include "train/train_state.h"

namespace continuo {
namespace {

// On another CPU the tensor library may round otherwise.
constexpr const char* kMadeOn = "AMD EPYC";
constexpr double kElsewhere = 1e-4;

const fs::path kFixture = fs::path(CONTINUO_SOURCE_DIR) / "tests/golden/old_run";

struct Part {
  const char *config, *checkpoint, *end, *weights, *expected;
};
constexpr Part kParts[] = {
    {"x.yaml", "run/checkpoints/step-00000160", "run/checkpoints/step-00000320",
     "model.safetensors", "base/model.safetensors"},
    {"lora.yaml", "adapter/checkpoints/step-00000020", "adapter/checkpoints/step-00000040",
     "adapter_model.safetensors", "adapter_40.safetensors"}};

// A copy of the fixture, and the working directory of the test.
class OldRun : public testing::Test {
 protected:
  OldRun() {
    fs::copy(kFixture, directory_.path(), fs::copy_options::recursive);
    fs::current_path(directory_.path());
    if (__builtin_cpu_supports("avx2")) {
      setenv("CONTINUO_ISA", "avx2", 1);
      setenv("ATEN_CPU_CAPABILITY", "avx2", 1);
    }
  }
  ~OldRun() override {
    unsetenv("CONTINUO_ISA");
    unsetenv("ATEN_CPU_CAPABILITY");
    fs::current_path(home_);
  }

  static TrainState state_of(const fs::path& checkpoint) {
    const fs::path file = checkpoint / kStateFile;
    return parse_train_state(test::read_file(file), file.string());
  }

  // Where rows lie is part of the configuration's hash, so a run that moved must be told.
  void tell_that_it_moved(const Part& part) const {
    TrainState state = state_of(part.checkpoint);
    state.config_hash = resume_hash(load_experiment(part.config, {}).config);
    directory_.write(std::string(part.checkpoint) + "/" + kStateFile, to_json(state));
    write_manifest(part.checkpoint);
  }

  fs::path home_ = fs::current_path();
  TempDir directory_;
};

TEST_F(OldRun, HashesAreThoseOfThen) {
  for (const Part& part : kParts) {
    ExperimentConfig config = load_experiment(part.config, {}).config;
    config.data.train[0].path = "/srv/continuo_old/rows.jsonl";
    const TrainState state = state_of(part.checkpoint);
    EXPECT_EQ(resume_hash(config), state.config_hash) << part.config;
    const PromptTemplate prompt = PromptTemplate::load(fs::path(part.checkpoint) / "prompt.yaml");
    EXPECT_EQ(prompt.hash(), state.template_hash) << part.config;
    EXPECT_EQ(prompt.config().bos, BosRule::kFalse);
  }
}

TEST_F(OldRun, GeneratesWhatItDidThen) {
  const auto all = nlohmann::json::parse(test::read_file(directory_ / "completions.json"));
  ASSERT_EQ(all.size(), 16U);
  for (const auto& then : all) {
    const Outcome outcome = run(directory_, then["arguments"].get<std::vector<std::string>>());
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const auto now = nlohmann::json::parse(outcome.out);
    EXPECT_EQ(now["prompt_tokens"], then["prompt_tokens"]) << then["arguments"];
    auto ids = nlohmann::json::array();
    for (const auto& token : now["tokens"]) ids.push_back(token["id"]);
    EXPECT_EQ(ids, then["tokens"]) << then["arguments"];
    EXPECT_EQ(now["text"], then["text"]) << then["arguments"];
  }
}

TEST_F(OldRun, GoesOnToTheSameWeights) {
  for (const Part& part : kParts) {
    tell_that_it_moved(part);
    const Outcome outcome = run(directory_, {"train", part.config, "--resume"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_NE(outcome.err.find("going on from step"), std::string::npos) << outcome.err;
    const auto now = SafetensorsFile(fs::path(part.end) / part.weights).all();
    const auto then = SafetensorsFile(part.expected).all();
    ASSERT_EQ(now.size(), then.size());
    for (const auto& [name, tensor] : then) {
      const double error = (now.at(name) - tensor).abs().max().item<double>();
      EXPECT_LE(error, cpu_name().starts_with(kMadeOn) ? 0 : kElsewhere) << name;
    }
    EXPECT_EQ(state_of(part.end).template_hash, state_of(part.checkpoint).template_hash);
  }
}

// The base has no stored template: it opens texts as its own files say, unlike the adapter on it.
TEST_F(OldRun, AModelWithoutAStoredTemplateFollowsItsOwnFiles) {
  const auto prompt_of = [&](const std::vector<std::string>& model) {
    std::vector<std::string> words = {"generate"};
    words.insert(words.end(), model.begin(), model.end());
    words.insert(words.end(), {"--json", "--prompt", "Name the red house.", "max_new_tokens=1"});
    const Outcome outcome = run(directory_, words);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out)["prompt_tokens"].get<std::vector<int64_t>>();
  };
  std::vector<int64_t> bare = prompt_of({"adapter", "--base", "base"});
  EXPECT_EQ(prompt_of({"base", "--raw"}), prompt_of({"base"}));
  bare.insert(bare.begin(), 1);
  EXPECT_EQ(prompt_of({"base"}), bare);
}

}  // namespace
}  // namespace continuo
