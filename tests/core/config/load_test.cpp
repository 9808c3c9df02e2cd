#include <cmath>

#include <gtest/gtest.h>

#include "core/config/config.h"
#include "core/config/sample_config.h"
#include "support/expect_error.h"

namespace continuo::test {
namespace {

TEST(LoadConfig, ReadsEveryKindOfField) {
  Experiment c = loaded(R"(
name: 123
steps: 1e3
shuffle: false
seed: -5
note: "~"
optimizer: {lr: 3e-4, decay: linear, clip: null}
sources:
  - path: a.jsonl
  - {path: b.jsonl, weight: 2, nested: [{lr: 1}]}
ids: [1, 2]
shares: [0.5, 1, .inf]
stop: ["\n", yes]
labels: {a: 1, b: "x"}
bias: {"15": -3, x: -inf}
stages: [{top_k: {k: 40}}]
)");
  EXPECT_EQ(c.name, "123");
  EXPECT_EQ(c.steps, 1000);
  EXPECT_FALSE(c.shuffle);
  EXPECT_EQ(c.seed, -5);
  EXPECT_EQ(c.note, "~");
  EXPECT_EQ(c.optimizer, (Optimizer{3e-4, Decay::kLinear, std::nullopt}));
  ASSERT_EQ(c.sources.size(), 2u);
  EXPECT_EQ(c.sources[0], (Source{"a.jsonl", 1, {}}));
  EXPECT_EQ(c.sources[1], (Source{"b.jsonl", 2, {Optimizer{.lr = 1}}}));
  EXPECT_EQ(c.ids, (std::vector<int64_t>{1, 2}));
  EXPECT_TRUE(std::isinf(c.shares[2]));
  EXPECT_EQ(c.stop, (std::vector<std::string>{"\n", "yes"}));
  EXPECT_EQ(c.labels.at("a"), "1");
  EXPECT_EQ(c.bias.at("15"), -3);
  EXPECT_TRUE(std::isinf(c.bias.at("x")));
  EXPECT_EQ(find_path(c.stages, "0.top_k.k")->scalar, "40");
}

TEST(LoadConfig, DefaultsStayWhereNothingIsWritten) {
  Experiment c;
  c.sources = {{"kept.jsonl", 1, {}}};
  EXPECT_EQ(faults(parse_yaml("optimizer:\n", "c.yaml"), c), "");
  EXPECT_EQ(c.steps, 100);
  EXPECT_EQ(c.optimizer, Optimizer{});
  ASSERT_EQ(c.sources.size(), 1u);
  EXPECT_EQ(c.sources[0].path, "kept.jsonl");
  EXPECT_EQ(faults(""), "");
}

TEST(LoadConfig, ListElementsStartFromTheStructsOwnDefaults) {
  Experiment c;
  c.sources = {{"old.jsonl", 7, {}}};
  EXPECT_EQ(faults(parse_yaml("sources: [{path: new.jsonl}]", "c.yaml"), c), "");
  EXPECT_EQ(c.sources[0].weight, 1);
  EXPECT_EQ(faults(parse_yaml("sources: []", "c.yaml"), c), "");
  EXPECT_TRUE(c.sources.empty());
}

TEST(LoadConfig, AScalarIsAListOfOne) {
  EXPECT_EQ(loaded("stop: END").stop, std::vector<std::string>{"END"});
  EXPECT_EQ(loaded("ids: 3").ids, std::vector<int64_t>{3});
}

TEST(LoadConfig, WholeNumbers) {
  EXPECT_EQ(loaded("seed: 9223372036854775807").seed, INT64_MAX);
  EXPECT_EQ(loaded("seed: -9223372036854775808").seed, INT64_MIN);
  EXPECT_EQ(loaded("seed: 2.5e3").seed, 2500);
  EXPECT_EQ(loaded("seed: +7").seed, 7);
  for (const char* bad :
       {"1_000", "0x10", "1.0", "1.5e0", "9223372036854775808", "1e19", "abc", "1e"}) {
    EXPECT_NE(faults(std::string("seed: ") + bad).find("seed: expected a whole number"),
              std::string::npos)
        << bad;
  }
  EXPECT_EQ(
      faults("steps: 1_000"),
      "c.yaml:1:8: steps: expected a whole number, found 1_000\n  hint: write it without '_'");
}

TEST(LoadConfig, Numbers) {
  EXPECT_EQ(loaded("optimizer: {lr: 1e-4}").optimizer.lr, 1e-4);
  EXPECT_EQ(loaded("optimizer: {lr: 2}").optimizer.lr, 2);
  EXPECT_TRUE(std::isinf(loaded("optimizer: {lr: inf}").optimizer.lr));
  for (const char* bad : {"nan", ".nan", "1e999", "1,5", "--1", "+-1", "lots"}) {
    EXPECT_NE(faults(fmt::format("optimizer: {{lr: {}}}", fmt::format("!!x {}", bad))), "") << bad;
  }
  EXPECT_EQ(faults("optimizer:\n  lr: fast"),
            "c.yaml:2:7: optimizer.lr: expected a number, found fast");
}

TEST(LoadConfig, QuotedScalarsAreTextOnly) {
  EXPECT_EQ(faults("steps: \"3\""),
            "c.yaml:1:8: steps: expected a whole number, found the string \"3\"\n  hint: remove "
            "the quotes");
  EXPECT_NE(faults("shuffle: 'true'").find("remove the quotes"), std::string::npos);
  EXPECT_NE(faults("bias: {a: '1'}").find("bias.a: expected a number"), std::string::npos);
  EXPECT_EQ(loaded("name: '3'").name, "3");
}

TEST(LoadConfig, WrongTypesSayWhatWasExpectedAndFound) {
  EXPECT_EQ(faults("shuffle: yes"), "c.yaml:1:10: shuffle: expected true or false, found yes");
  EXPECT_EQ(faults("optimizer: 3"),
            "c.yaml:1:12: optimizer: expected a section with keys of its own, found 3");
  EXPECT_EQ(faults("steps: [1]"), "c.yaml:1:8: steps: expected a whole number, found a list");
  EXPECT_EQ(faults("name:"),
            "c.yaml:1:1: name: expected text, found nothing\n  hint: write \"\" for an empty text");
  EXPECT_EQ(faults("name: {question}"),
            "c.yaml:1:7: name: expected text, found a map\n  hint: put quotes around text with { } "
            "[ ] : # in it");
  EXPECT_EQ(
      faults("sources: {path: a}"),
      "c.yaml:1:10: sources: expected a list, found a map\n  hint: begin every item with '- '");
  EXPECT_EQ(faults("sources: [a.jsonl]").substr(0, 68),
            "c.yaml:1:11: sources.0: expected a map of keys and values, found a.j");
  EXPECT_EQ(faults("ids: [1, x]"), "c.yaml:1:10: ids.1: expected a whole number, found x");
  EXPECT_EQ(faults("ids: {a: 1}"),
            "c.yaml:1:6: ids: expected a list of whole numbers, found a map");
  EXPECT_EQ(faults("bias: 3"), "c.yaml:1:7: bias: expected a map of keys and values, found 3");
  EXPECT_EQ(faults("optimizer: {decay: cosin}"),
            "c.yaml:1:20: optimizer.decay: expected one of constant, linear, cosine, found cosin\n"
            "  hint: did you mean cosine?");
}

TEST(LoadConfig, Ranges) {
  EXPECT_EQ(faults("steps: 0"), "c.yaml:1:8: steps must be in [1, 1000000], found 0");
  EXPECT_EQ(faults("steps: 1"), "");
  EXPECT_EQ(faults("optimizer: {lr: 0}"), "c.yaml:1:17: optimizer.lr must be > 0, found 0");
  EXPECT_EQ(faults("optimizer: {clip: -1}"), "c.yaml:1:19: optimizer.clip must be ≥ 0, found -1");
  Experiment c;
  faults(parse_yaml("steps: 0", "c.yaml"), c);
  EXPECT_EQ(c.steps, 100) << "a refused value leaves the default";
}

TEST(LoadConfig, UnknownKeys) {
  EXPECT_EQ(faults("stepps: 3"), "c.yaml:1:9: unknown key stepps\n  hint: did you mean steps?");
  EXPECT_EQ(faults("optimizer: {Decay: linear}"),
            "c.yaml:1:20: unknown key optimizer.Decay\n  hint: did you mean decay?");
  EXPECT_EQ(faults("clip: 3"),
            "c.yaml:1:7: unknown key clip\n  hint: did you mean optimizer.clip?");
  EXPECT_EQ(faults("optimizer: {zebra: 3}"),
            "c.yaml:1:20: unknown key optimizer.zebra\n  hint: known here: lr, decay, clip");
  EXPECT_EQ(faults("sources: [{path: a, wieght: 2}]"),
            "c.yaml:1:29: unknown key sources.0.wieght\n  hint: did you mean weight?");
}

TEST(LoadConfig, RequiredKeys) {
  EXPECT_EQ(faults("sources:\n  - weight: 2\n"),
            "c.yaml:2:5: sources.0.path is missing; it has no default");
  EXPECT_EQ(faults("sources:\n  - path: a\n"), "");
}

struct Needy {
  Optimizer optimizer;
  std::vector<Source> sources;
};
void fields(FieldVisitor& v, Needy& c) {
  v.section("optimizer", c.optimizer, "");
  v.required();
  v.list("sources", c.sources, "");
  v.required();
}

TEST(LoadConfig, SectionsAndListsCanBeRequired) {
  Needy c;
  Problems problems;
  load_config(parse_yaml("", "c.yaml"), c, problems, "part");
  expect_error([&] { problems.raise(); },
               {"c.yaml:1:1: part.optimizer is missing", "c.yaml:1:1: part.sources is missing"});
  Problems none;
  load_config(parse_yaml("optimizer: {}\nsources: [{path: x}]", "c.yaml"), c, none);
  EXPECT_TRUE(none.empty());
}

TEST(LoadConfig, AllFaultsAtOnceInFileOrder) {
  std::string text = faults("zzz: 1\nsteps: 0\noptimizer:\n  lr: x\nnmae: a\n");
  EXPECT_EQ(text,
            "4 faults\n"
            "c.yaml:1:6: unknown key zzz\n"
            "c.yaml:2:8: steps must be in [1, 1000000], found 0\n"
            "c.yaml:4:7: optimizer.lr: expected a number, found x\n"
            "c.yaml:5:7: unknown key nmae\n"
            "  hint: did you mean name?");
}

TEST(LoadConfig, LongValuesAreCutInMessages) {
  std::string text = faults("steps: " + std::string(1000, 'x'));
  EXPECT_LT(text.size(), 200u);
  EXPECT_NE(text.find("…"), std::string::npos);
}

TEST(Problems, NothingToRaise) {
  Problems problems;
  EXPECT_TRUE(problems.empty());
  problems.raise();
  problems.add({"a", 1, 1}, "bad", "fix");
  expect_error([&] { problems.raise(); }, {"a:1:1: bad\n  hint: fix"});
}

}  // namespace
}  // namespace continuo::test
