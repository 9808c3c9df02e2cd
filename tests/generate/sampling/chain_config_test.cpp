#include "generate/sampling/chain_config.h"

#include <set>

#include "support/expect_error.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

std::vector<WrittenStage> read(const std::string& yaml) {
  Problems problems;
  auto chain = read_chain(parse_yaml(yaml, "chain.yaml"), problems);
  problems.raise();
  return chain;
}

std::string described(const std::string& yaml) { return describe_chain(read(yaml)); }

std::string edited(const std::string& yaml, const std::string& name, const std::string& value) {
  Problems problems;
  const auto chain = read_chain(
      with_stage(parse_yaml(yaml, "chain.yaml"), name, parse_yaml(value, "value")), problems);
  problems.raise();
  return describe_chain(chain);
}

TEST(StageTable, NamesAreUniqueAndMainParametersExist) {
  std::set<std::string_view> names;
  for (const StageSpec& spec : stage_table()) {
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
    EXPECT_FALSE(spec.help.empty());
    if (spec.main.empty()) continue;
    const ConfigNode params = parse_yaml(spec.resolved(ConfigNode{}), "defaults");
    EXPECT_NE(params.find(spec.main), nullptr) << spec.name;
    EXPECT_NE(spec.params_help().find(spec.main), std::string::npos);
  }
}

TEST(StageTable, CanonicalOrderMasksFirstAndTheDrawLast) {
  size_t previous = 0;
  for (const char* name :
       {"min_new_tokens", "repetition", "top_k", "top_p", "temperature", "mirostat"}) {
    const size_t position = canonical_position(*find_stage(name));
    EXPECT_GT(position, previous) << name;
    previous = position;
  }
}

TEST(ReadChain, AcceptsShortAndLongForms) {
  EXPECT_EQ(described("[greedy]"), "- greedy\n");
  EXPECT_EQ(described("- greedy: true"), "- greedy\n");
  EXPECT_EQ(described("- top_p: 0.9"), "- top_p: {p: 0.9, min_keep: 1}\n");
  EXPECT_EQ(described("- top_p: {min_keep: 2}"), "- top_p: {p: 0.95, min_keep: 2}\n");
  EXPECT_EQ(described("- top_k\n- min_p: null"),
            "- top_k: {k: 40}\n- min_p: {p: 0.05, min_keep: 1}\n");
  EXPECT_EQ(described("greedy"), "- greedy\n");
  EXPECT_EQ(described("- banned_words: [foo, \"a: b\"]"),
            "- banned_words: {words: [foo, \"a: b\"], ids: []}\n");
  EXPECT_EQ(described("- repetition: {penalty: 1.2, form: raw}"),
            "- repetition: {penalty: 1.2, form: raw, scope: completion, window: 64, "
            "exempt_special: true}\n");
}

TEST(ReadChain, WhatItDescribesReadsBackTheSame) {
  const std::string text = described(
      "[{logit_bias: {ids: {3: -inf}, text: {a b: 2}}}, banned_words, dry, {xtc: 0.2}, "
      "{temperature: 0}]");
  EXPECT_EQ(described(text), text);
}

TEST(ReadChain, ReportsAllFaultsWithTheirPlaces) {
  expect_error(
      [] {
        read(
            "- top_kk: 40\n- temperature: warm\n- top_p: {q: 0.9}\n- [1, 2]\n- greedy: 5\n"
            "- {top_k: 1, top_p: 2}\n");
      },
      {"chain.yaml:1:", "unknown stage top_kk", "did you mean top_k?",
       "chain.yaml:2:", "sampler.1.temperature.value: expected a number", "chain.yaml:3:",
       "unknown key sampler.2.top_p.q", "chain.yaml:4:", "sampler.3: expected a stage",
       "chain.yaml:5:", "takes no single value", "chain.yaml:6:"});
}

TEST(ReadChain, MirostatMustBeLastAndAlone) {
  expect_error([] { read("[{mirostat: 5}, {temperature: 1}]"); },
               {"temperature comes after mirostat, which must be last"});
  expect_error([] { read("[{top_p: 0.9}, {mirostat: 5}]"); },
               {"top_p and mirostat contradict each other"});
  EXPECT_EQ(read("[{repetition: 1.1}, {temperature: 0.9}, {mirostat: 5}]").size(), 3u);
}

TEST(ChainNotes, SayWhatHasNoEffect) {
  EXPECT_EQ(chain_notes(read("[{top_p: 0.9}, {temperature: 0}]")),
            std::vector<std::string>{"top_p has no effect: temperature is 0"});
  EXPECT_EQ(chain_notes(read("[{temperature: 0.7}, greedy]")),
            std::vector<std::string>{"temperature has no effect: greedy is in the chain"});
  EXPECT_TRUE(chain_notes(read("[{repetition: 1.2}, greedy]")).empty());
  EXPECT_TRUE(chain_notes(read("[{top_p: 0.9}, {temperature: 0.7}]")).empty());
  const auto masks = chain_notes(read("[{top_k: 5}, {banned_words: [foo]}]"));
  ASSERT_EQ(masks.size(), 1u);
  EXPECT_NE(masks[0].find("banned_words comes after top_k"), std::string::npos);
}

TEST(WithStage, EditsInPlaceAndKeepsOtherParameters) {
  EXPECT_EQ(edited("[{top_p: {p: 0.9, min_keep: 3}}, {temperature: 1}]", "top_p", "0.5"),
            described("[{top_p: {p: 0.5, min_keep: 3}}, {temperature: 1}]"));
  EXPECT_EQ(edited("[{top_p: 0.9}, {temperature: 1}]", "top_p", "{min_keep: 2}"),
            described("[{top_p: {p: 0.9, min_keep: 2}}, {temperature: 1}]"));
}

TEST(WithStage, InsertsAtItsCanonicalPlace) {
  EXPECT_EQ(edited("[{top_k: 5}, {temperature: 1}]", "top_p", "0.5"),
            described("[{top_k: 5}, {top_p: 0.5}, {temperature: 1}]"));
  EXPECT_EQ(edited("[{top_k: 5}]", "temperature", "2"),
            described("[{top_k: 5}, {temperature: 2}]"));
  EXPECT_EQ(edited("[{top_k: 5}]", "repetition", "2"), described("[{repetition: 2}, {top_k: 5}]"));
  EXPECT_EQ(edited("", "top_k", "2"), described("[{top_k: 2}]"));
  // After temperature where the list puts truncations there.
  EXPECT_EQ(edited("[{temperature: 1}, {top_k: 5}]", "top_p", "0.5"),
            described("[{temperature: 1}, {top_k: 5}, {top_p: 0.5}]"));
}

TEST(WithStage, RemovesAndReplaces) {
  EXPECT_EQ(edited("[{top_k: 5}, {temperature: 1}]", "top_k", "off"),
            described("[{temperature: 1}]"));
  EXPECT_EQ(edited("[{top_k: 5}, {temperature: 1}]", "top_k", "null"),
            described("[{temperature: 1}]"));
  EXPECT_EQ(edited("[{top_k: 5}]", "min_p", "off"), described("[{top_k: 5}]"));
  EXPECT_EQ(edited("[greedy]", "temperature", "0.7"), described("[{temperature: 0.7}]"));
  EXPECT_EQ(edited("[{temperature: 1}]", "greedy", "true"),
            described("[{temperature: 1}, greedy]"));
  EXPECT_EQ(edited("[greedy]", "greedy", "false"), "");
}

TEST(WithStage, RefusesWhatIsAmbiguousOrUnknown) {
  expect_error([] { edited("[{top_k: 5}, {top_k: 3}]", "top_k", "1"); }, {"more than once"});
  expect_error([] { edited("[]", "topk", "1"); }, {"unknown stage topk", "top_k"});
}

}  // namespace
}  // namespace continuo::test
