#include "data/data_config.h"

#include <gtest/gtest.h>

#include "support/data_fixture.h"

namespace continuo {
namespace {

struct Loaded {
  DataConfig config;
  std::string problems;
};

Loaded load(const test::TempDir& dir, const std::string& yaml,
            const std::vector<std::string>& overrides = {}) {
  const auto file = dir.write("configs/c.yaml", yaml);
  ConfigNode root = load_yaml(file);
  for (const std::string& text : overrides) apply_override(root, text);
  Loaded loaded;
  Problems problems;
  load_config(*root.find("data"), loaded.config, problems);
  loaded.config = resolve_data_config(loaded.config, root, "data", problems);
  loaded.problems = test::error_of([&] { problems.raise(); });
  return loaded;
}

TEST(DataConfig, PathsCountFromTheirYamlFile) {
  const test::TempDir dir;
  dir.write("rows/a.jsonl", "");
  const Loaded loaded =
      load(dir,
           "data:\n  train:\n    - {path: ../rows/a.jsonl, weight: 0.5, format: messages}\n"
           "  overlong: truncate_prompt_left\n  faulty_rows: drop\n");
  EXPECT_EQ(loaded.problems, "");
  EXPECT_EQ(loaded.config.train.at(0).path, (dir / "rows/a.jsonl").string());
  EXPECT_EQ(loaded.config.train.at(0).weight, 0.5);
  EXPECT_EQ(loaded.config.train.at(0).format, RowFormat::kMessages);
  EXPECT_EQ(loaded.config.overlong, OverlongRows::kTruncatePromptLeft);
  EXPECT_EQ(loaded.config.faulty_rows, FaultyRows::kDrop);
}

TEST(DataConfig, OverridesCountFromTheWorkingDirectory) {
  const test::TempDir dir;
  const Loaded loaded =
      load(dir, "data:\n  train: [{path: a.jsonl}]\n", {"data.train.0.path=nowhere/b.jsonl"});
  EXPECT_EQ(loaded.config.train.at(0).path,
            (std::filesystem::current_path() / "nowhere/b.jsonl").string());
}

TEST(DataConfig, FaultsNameTheLine) {
  const test::TempDir dir;
  std::string problems =
      load(dir, "data:\n  train:\n    - path: none.jsonl\n    - path: .\n").problems;
  EXPECT_NE(problems.find("c.yaml:3:"), std::string::npos) << problems;
  EXPECT_NE(problems.find("no such file: none.jsonl"), std::string::npos) << problems;
  EXPECT_NE(problems.find("c.yaml:4:"), std::string::npos) << problems;
  EXPECT_NE(problems.find("not a regular file"), std::string::npos) << problems;
  EXPECT_NE(load(dir, "data:\n  train: []\n").problems.find("data.train names no file"),
            std::string::npos);
  dir.write("configs/a.jsonl", "");
  problems =
      load(dir, "data:\n  train: [{path: a.jsonl}]\n  eval: [{path: a.jsonl}]\n  eval_share: 0.1\n")
          .problems;
  EXPECT_NE(problems.find("c.yaml:4:"), std::string::npos) << problems;
  EXPECT_NE(problems.find("both `eval` and `eval_share`"), std::string::npos) << problems;
  EXPECT_NE(load(dir, "data:\n  train: [{path: a.jsonl, weight: 0}]\n").problems, "");
  EXPECT_NE(
      load(dir, "data:\n  train: [{path: a.jsonl, wieght: 2}]\n").problems.find("did you mean"),
      std::string::npos);
}

TEST(DataConfig, DisplayPath) {
  const auto here = std::filesystem::current_path();
  EXPECT_EQ(display_path((here / "data" / "x.jsonl").string()), "data/x.jsonl");
  EXPECT_EQ(display_path("data/x.jsonl"), "data/x.jsonl");
  EXPECT_EQ(display_path("/somewhere/else"), "/somewhere/else");
}

}  // namespace
}  // namespace continuo
