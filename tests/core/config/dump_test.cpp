#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "core/config/config.h"
#include "core/config/sample_config.h"
#include "core/random.h"
#include "support/expect_error.h"

namespace continuo::test {
namespace {

struct Younger {
  std::string old, added;
};
void fields(FieldVisitor& v, Younger& c) {
  v.field("old", c.old, "");
  v.field("added", c.added, "");
  v.omit_when_empty();
}

TEST(DumpConfig, WhatCameLaterIsSaidWhereItSaysSomething) {
  EXPECT_EQ(dump_config(Younger{}), "old: \"\"\n");
  EXPECT_EQ(dump_config(Younger{.old = "a", .added = "b"}), "old: a\nadded: b\n");
}

TEST(DumpConfig, Spelling) {
  Experiment c = loaded(
      "sources: [{path: a b.jsonl}, {path: 'x', weight: 0.1}]\nstop: [\"\\n\", yes]\nids: [1, 2]");
  EXPECT_EQ(dump_config(c),
            "name: run\n"
            "steps: 100\n"
            "shuffle: true\n"
            "seed: null\n"
            "note: null\n"
            "optimizer:\n"
            "  lr: 0.0001\n"
            "  decay: cosine\n"
            "  clip: 1\n"
            "sources:\n"
            "  - path: a b.jsonl\n"
            "    weight: 1\n"
            "    nested: []\n"
            "  - path: x\n"
            "    weight: 0.1\n"
            "    nested: []\n"
            "ids: [1, 2]\n"
            "shares: []\n"
            "stop: [\"\\n\", \"yes\"]\n"
            "labels: {}\n"
            "bias: {}\n"
            "stages: null\n");
}

TEST(DumpConfig, OriginsOfEveryValue) {
  ConfigNode root = parse_yaml("steps: 5\noptimizer:\n  lr: 1\nsources:\n  - path: a\n", "c.yaml");
  apply_override(root, "optimizer.decay=linear");
  apply_override(root, "name=\"a\nb\"");
  Experiment c;
  EXPECT_EQ(faults(root, c), "");
  std::string text = dump_config(c, &root);
  for (const char* line :
       {"steps: 5  # c.yaml:1\n", "  lr: 1  # c.yaml:3\n", "  clip: 1  # default\n",
        "  decay: linear  # optimizer.decay=linear\n", "  - path: a  # c.yaml:5\n",
        "    weight: 1  # default\n", "name: a b  # name=\"a b\"\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "is not in\n" << text;
  }
  EXPECT_EQ(dump_config(loaded(text)), dump_config(c)) << "comments do not disturb reading";
}

std::string random_text(const Random& random, uint64_t row) {
  static const std::vector<std::string> kPieces = {"a",
                                                   "Z",
                                                   " ",
                                                   "\n",
                                                   "\t",
                                                   "\r",
                                                   "\"",
                                                   "'",
                                                   "\\",
                                                   "#",
                                                   ": ",
                                                   "- ",
                                                   "{",
                                                   "}",
                                                   "[",
                                                   "]",
                                                   ",",
                                                   "&",
                                                   "*",
                                                   "!",
                                                   "|",
                                                   ">",
                                                   "%",
                                                   "@",
                                                   "`",
                                                   "~",
                                                   "null",
                                                   "true",
                                                   "1e5",
                                                   "0x1",
                                                   "..",
                                                   "=",
                                                   "é",
                                                   "😀",
                                                   "?",
                                                   "\b",
                                                   "\x7f",
                                                   "<<",
                                                   "---",
                                                   "...",
                                                   std::string(1, '\0'),
                                                   "\u0085",
                                                   "\u2028",
                                                   "\ufeff",
                                                   "\u00a0",
                                                   "{{x}}",
                                                   "$HOME",
                                                   "yes",
                                                   "-",
                                                   ".inf"};
  std::string text;
  uint64_t length = random.below(6, row, 0);
  for (uint64_t i = 0; i < length; ++i) text += kPieces[random.below(kPieces.size(), row, i + 1)];
  return text;
}

TEST(DumpConfig, RoundTripsWhateverTheValues) {
  Random random(7, "dump");
  for (uint64_t row = 0; row < 1000; ++row) {
    auto text = [&](uint64_t k) { return random_text(random, row * 100 + k); };
    auto real = [&](uint64_t k) {
      double x = random.normal(row, k) *
                 std::pow(10.0, static_cast<double>(random.below(600, row, k)) - 300);
      return random.below(9, row, k + 50) == 0 ? std::round(random.normal(row, k) * 1e3) : x;
    };
    Experiment c;
    c.name = text(1);
    c.steps = 1 + static_cast<int64_t>(random.below(1000, row, 2));
    c.shuffle = random.below(2, row, 3) == 0;
    if (random.below(2, row, 4)) c.seed = static_cast<int64_t>(random.bits(row, 5));
    if (random.below(2, row, 6)) c.note = text(7);
    c.optimizer = {std::abs(real(8)), Decay(random.below(3, row, 9)), std::nullopt};
    c.sources = {{text(10), std::abs(real(11)), {}},
                 {text(12), 1, {Optimizer{std::abs(real(13)), Decay::kLinear, 2}}}};
    c.ids = {static_cast<int64_t>(random.bits(row, 14)), 0};
    c.shares = {real(15), -INFINITY, 0.1};
    c.stop = {text(16), text(17), text(18)};
    c.labels = {{text(19), text(20)}, {text(21), text(22)}};
    c.bias = {{text(23), real(24)}};
    c.stages = parse_yaml(
        "[{top_k: {k: 40, on: 'true'}}, [], [a, [b]], {}, {x: ~, y: [{z: 1, w: 2}]}]", "s");
    c.stages.items[0].fields[0].second.fields.emplace_back(text(25), parse_yaml("1e3", "s"));

    std::string yaml = dump_config(c);
    SCOPED_TRACE(yaml);
    Experiment back = loaded(yaml);
    ASSERT_EQ(back.name, c.name);
    ASSERT_EQ(back.steps, c.steps);
    ASSERT_EQ(back.shuffle, c.shuffle);
    ASSERT_EQ(back.seed, c.seed);
    ASSERT_EQ(back.note, c.note);
    ASSERT_EQ(back.optimizer, c.optimizer);
    ASSERT_EQ(back.sources, c.sources);
    ASSERT_EQ(back.ids, c.ids);
    ASSERT_EQ(back.shares, c.shares);
    ASSERT_EQ(back.stop, c.stop);
    ASSERT_EQ(back.labels, c.labels);
    ASSERT_EQ(back.bias, c.bias);
    ASSERT_EQ(dump_config(back), yaml);
    ASSERT_EQ(find_path(back.stages, "0.top_k.k")->scalar, "40");
    ASSERT_FALSE(find_path(back.stages, "0.top_k.k")->quoted);
    ASSERT_TRUE(find_path(back.stages, "0.top_k.on")->quoted);
    if (HasFatalFailure()) return;
  }
}

TEST(DumpNode, ListsAndScalarsAtTheTop) {
  EXPECT_EQ(dump_node(parse_yaml("[1, 2]", "x")), "- 1\n- 2\n");
  EXPECT_EQ(dump_node(parse_yaml("- a: 1\n  b: [1]\n- - 1\n  - {}\n", "x")),
            "- a: 1\n  b: [1]\n-\n  - 1\n  - {}\n");
  EXPECT_EQ(dump_node(parse_yaml("x", "x")), "x\n");
  EXPECT_EQ(dump_node(ConfigNode{}), "null\n");
}

TEST(ConfigHelp, OneLinePerKey) {
  std::string text = config_help<Experiment>();
  for (const char* part : {"steps", "integer in [1, 1000000]", "= 100", "Optimizer steps.",
                           "optimizer.lr", "number > 0", "= 0.0001", "constant|linear|cosine",
                           "= cosine", "sources.0.path", "(required)", "= null", "optimizer ",
                           "How weights are updated.", "sources.0.nested.0.lr"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  }
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 22);
}

}  // namespace
}  // namespace continuo::test
