// Every experiment that ships is valid, resolves its paths and dumps to a file that loads again.
#include <filesystem>

#include <gtest/gtest.h>

#include "app/experiment.h"
#include "core/error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> shipped_configs() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(CONTINUO_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  return files;
}

TEST(Configs, EveryExperimentLoadsAndItsResolvedFormLoadsAgain) {
  const auto files = shipped_configs();
  ASSERT_GE(files.size(), 4u);
  for (const fs::path& file : files) {
    SCOPED_TRACE(file.string());
    const Experiment experiment = load_experiment(file, {});
    const test::TempDir directory;
    const fs::path resolved = directory.write("resolved.yaml", resolved_yaml(experiment));
    const Experiment again = load_experiment(resolved, {});
    EXPECT_EQ(resume_hash(again.config), resume_hash(experiment.config));
  }
}

TEST(Configs, FaultsAreReportedTogetherWithPlaceAndSuggestion) {
  const test::TempDir directory;
  const fs::path file =
      directory.write("bad.yaml", "trian:\n  lr: 1\nmodel:\n  layers: many\ntrain:\n  lr: -1\n");
  try {
    load_experiment(file, {});
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("unknown key trian"), std::string::npos) << text;
    EXPECT_NE(text.find("bad.yaml:4:"), std::string::npos) << text;
    EXPECT_NE(text.find("bad.yaml:6:"), std::string::npos) << text;
    EXPECT_NE(text.find("train"), std::string::npos) << text;
  }
}

TEST(Configs, LengthAndCadenceMayChangeOnResumeAndNothingElse) {
  const fs::path file = fs::path(CONTINUO_SOURCE_DIR) / "configs/from_scratch.yaml";
  const std::string base = resume_hash(load_experiment(file, {}).config);
  for (const char* allowed :
       {"train.epochs=9", "train.eval_every=7", "checkpoint.every=3", "generation.seed=4"}) {
    EXPECT_EQ(resume_hash(load_experiment(file, {allowed}).config), base) << allowed;
  }
  for (const char* refused : {"train.lr=1e-5", "batch.seed=1", "model.layers=5",
                              "optimizer.beta2=0.99", "train.dtype=bf16"}) {
    EXPECT_NE(resume_hash(load_experiment(file, {refused}).config), base) << refused;
  }
}

}  // namespace
}  // namespace continuo
