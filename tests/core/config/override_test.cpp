#include <gtest/gtest.h>

#include "core/config/config.h"
#include "core/config/sample_config.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace continuo::test {
namespace {

using Kind = ConfigNode::Kind;

ConfigNode overridden(const std::string& yaml, std::initializer_list<const char*> assignments) {
  ConfigNode root = parse_yaml(yaml, "c.yaml");
  for (const char* assignment : assignments) apply_override(root, assignment);
  return root;
}

Experiment loaded_with(const std::string& yaml, std::initializer_list<const char*> assignments) {
  Experiment config;
  Problems problems;
  load_config(overridden(yaml, assignments), config, problems);
  problems.raise();
  return config;
}

TEST(Override, ReplacesAndCreates) {
  Experiment c = loaded_with("steps: 5\noptimizer: {lr: 1, decay: linear}",
                             {"steps=7", "optimizer.lr=2", "name=x y"});
  EXPECT_EQ(c.steps, 7);
  EXPECT_EQ(c.optimizer.lr, 2);
  EXPECT_EQ(c.optimizer.decay, Decay::kLinear);
  EXPECT_EQ(c.name, "x y");
  EXPECT_EQ(loaded_with("", {"optimizer.lr=2"}).optimizer.lr, 2);
  EXPECT_EQ(loaded_with("optimizer:\n", {"optimizer.lr=2"}).optimizer.lr, 2);
}

TEST(Override, ValuesAreYaml) {
  EXPECT_EQ(loaded_with("", {"ids=[1, 2]"}).ids, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(loaded_with("", {"optimizer={lr: 5}"}).optimizer.lr, 5);
  EXPECT_EQ(loaded_with("", {"optimizer.clip=null"}).optimizer.clip, std::nullopt);
  EXPECT_EQ(loaded_with("", {R"(name="{q}\n")"}).name, "{q}\n");
  EXPECT_EQ(loaded_with("", {"name=a=b"}).name, "a=b");
  EXPECT_EQ(loaded_with("", {"name=\"\""}).name, "");
}

TEST(Override, MapsAreReplacedNotMerged) {
  Experiment c = loaded_with("optimizer: {lr: 9, decay: linear}", {"optimizer={lr: 5}"});
  EXPECT_EQ(c.optimizer.decay, Decay::kCosine);
}

TEST(Override, ListItems) {
  const char* yaml = "sources: [{path: a}, {path: b}]\nstop: x\n";
  Experiment c = loaded_with(
      yaml, {"sources.1.path=B", "sources.0.weight=3", "sources.2={path: c}", "stop.0=y"});
  ASSERT_EQ(c.sources.size(), 3u);
  EXPECT_EQ(c.sources[0].weight, 3);
  EXPECT_EQ(c.sources[1].path, "B");
  EXPECT_EQ(c.sources[2].path, "c");
  EXPECT_EQ(c.stop, std::vector<std::string>{"y"});
  c = loaded_with("", {"sources.0.path=a", "sources.1.path=b", "ids.0=4", "bias.0=2"});
  ASSERT_EQ(c.sources.size(), 2u) << "a list that nothing wrote yet";
  EXPECT_EQ(c.sources[1].path, "b");
  EXPECT_EQ(c.ids, std::vector<int64_t>{4});
  EXPECT_EQ(c.bias.at("0"), 2) << "0 is a key of a map as well";
}

TEST(Override, FreeSubtrees) {
  Experiment c = loaded_with("stages: [{top_k: {k: 40}}, {top_p: {p: 1}}]",
                             {"stages.0.top_k.k=3", "stages.1={min_p: {}}"});
  EXPECT_EQ(find_path(c.stages, "0.top_k.k")->scalar, "3");
  EXPECT_EQ(find_path(c.stages, "1.top_p"), nullptr);
  EXPECT_NE(find_path(c.stages, "1.min_p"), nullptr);
}

TEST(Override, KeysWithDots) {
  Experiment c = loaded_with("", {R"(bias."a.b"=1)", R"(labels."x=y"=z)"});
  EXPECT_EQ(c.bias.at("a.b"), 1);
  EXPECT_EQ(c.labels.at("x=y"), "z");
}

TEST(Override, FaultsNameTheAssignment) {
  Experiment c;
  EXPECT_EQ(faults(overridden("", {"optimizer.lr=fast"}), c),
            "optimizer.lr=fast: optimizer.lr: expected a number, found fast");
  EXPECT_EQ(faults(overridden("", {"optimzer.lr=1"}), c),
            "optimzer.lr=1: unknown key optimzer\n  hint: did you mean optimizer?");
}

TEST(Override, MalformedIsWrongUsage) {
  auto refused = [](const char* yaml, const char* assignment,
                    std::initializer_list<std::string> parts) {
    ConfigNode root = parse_yaml(yaml, "c.yaml");
    expect_error([&] { apply_override(root, assignment); }, parts, 2);
    EXPECT_EQ(dump_node(root), dump_node(parse_yaml(yaml, "c.yaml"))) << "left as it was";
  };
  refused("", "steps", {"steps is not an override", "key=value"});
  refused("", "=3", {"malformed key"});
  refused("", "a..b=3", {"malformed key"});
  refused("", "a.=3", {"malformed key"});
  refused("", "\"a=3", {"not an override"});
  refused("", "a=[1, 2", {"bad value in a=[1, 2"});
  refused("steps: 3", "steps.x=1", {"steps is a single value", "c.yaml:1:8"});
  refused("ids: [1]", "ids.5=1", {"ids is a list of 1; 5 is none of its items"});
  refused("ids: [1]", "ids.x=1", {"none of its items"});
}

TEST(Locate, NearestThatIsWritten) {
  ConfigNode root = parse_yaml("a: 1\noptimizer:\n  lr: 3\nl: [{x: 1}]\n", "c.yaml");
  EXPECT_EQ(locate(root, "optimizer.lr").str(), "c.yaml:3:7");
  EXPECT_EQ(locate(root, "optimizer.decay").str(), "c.yaml:3:3");
  EXPECT_EQ(locate(root, "l.0.x").str(), "c.yaml:4:9");
  EXPECT_EQ(locate(root, "none.at.all").str(), "c.yaml:1:1");
  EXPECT_EQ(find_path(root, "none.at.all"), nullptr);
  EXPECT_EQ(find_path(root, "a..b"), nullptr);
}

TEST(ResolvePath, RelativeToTheFileThatNamesIt) {
  TempDir dir;
  dir.write("sub/base.yaml", "data: {path: x.jsonl}\n");
  ConfigNode root = load_yaml(dir.write("c.yaml", "extends: sub/base.yaml\nout: ../runs\n"));
  EXPECT_EQ(resolve_path(root, "data.path", "x.jsonl"), dir / "sub/x.jsonl");
  EXPECT_EQ(resolve_path(root, "out", "../runs"), dir.path().parent_path() / "runs");
  EXPECT_EQ(resolve_path(root, "data.path", "/abs"), "/abs");
  EXPECT_EQ(resolve_path(root, "unset", "runs"), "runs");
  apply_override(root, "data.path=q/y.jsonl");
  EXPECT_EQ(resolve_path(root, "data.path", "q/y.jsonl"), "q/y.jsonl");
}

}  // namespace
}  // namespace continuo::test
