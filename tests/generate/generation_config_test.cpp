#include "generate/generation_config.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace continuo::test {
namespace {

GenerationConfig load(const std::string& yaml) {
  GenerationConfig config;
  Problems problems;
  load_config(parse_yaml(yaml, "gen.yaml"), config, problems);
  validate(config, problems);
  problems.raise();
  return config;
}

TEST(GenerationConfig, HasASensibleDefaultChain) {
  EXPECT_EQ(describe_chain(load("")),
            "- min_p: {p: 0.05, min_keep: 1}\n"
            "- temperature: {value: 0.7, range: 0, exponent: 1}\n");
  EXPECT_TRUE(chain_notes(load("")).empty());
}

TEST(GenerationConfig, LoadsAndDumps) {
  const GenerationConfig config =
      load("max_new_tokens: 5\nstop: [\"\\n\", x]\nsampler:\n  - top_k: 3\n  - temperature: 0.5\n");
  EXPECT_EQ(config.max_new_tokens, 5);
  EXPECT_EQ(config.stop, (std::vector<std::string>{"\n", "x"}));
  const GenerationConfig again = load(dump_config(config));
  EXPECT_EQ(describe_chain(again), describe_chain(config));
  EXPECT_EQ(again.stop, config.stop);
}

TEST(GenerationConfig, AllFaultsAtOnce) {
  expect_error(
      [] { load("max_new_tokens: 0\nstopp: x\nstop: [\"\"]\nsampler:\n  - tempreature: 1\n"); },
      {"max_new_tokens", "did you mean stop?", "a stop text is empty", "unknown stage tempreature",
       "did you mean temperature?", "gen.yaml:5:"});
}

TEST(GenerationConfig, DraftsComeFromLookupOrFromAModel) {
  EXPECT_FALSE(drafts_by_model(load("")));
  EXPECT_FALSE(drafts_by_model(load("draft: lookup")));
  EXPECT_TRUE(drafts_by_model(load("draft: self")));
  EXPECT_TRUE(drafts_by_model(load("{draft: models/small, draft_weights: q8}")));
  expect_error([] { load("draft: \"\""); }, {"draft is empty", "lookup"});
  expect_error([] { load("draft_tokens: 64"); }, {"draft_tokens", "63"});
  expect_error([] { load("draft_ngram: 0"); }, {"draft_ngram"});
}

TEST(Override, SetsFieldsAndStages) {
  GenerationConfig config;
  apply_generation_override(config, "max_new_tokens=9");
  apply_generation_override(config, "stop=[a, b]");
  apply_generation_override(config, "temperature=0.2");
  apply_generation_override(config, "repetition={penalty: 1.3}");
  apply_generation_override(config, "repetition.form=raw");
  apply_generation_override(config, "min_p=off");
  EXPECT_EQ(config.max_new_tokens, 9);
  EXPECT_EQ(config.stop.size(), 2u);
  EXPECT_EQ(describe_chain(config),
            "- repetition: {penalty: 1.3, form: raw, scope: completion, window: 64, "
            "exempt_special: true}\n"
            "- temperature: {value: 0.2, range: 0, exponent: 1}\n");
  apply_generation_override(config, "time_limit=2.5");
  apply_generation_override(config, "time_limit=null");
  EXPECT_FALSE(config.time_limit);
}

TEST(Override, ReachesTheWholeListAndItsItems) {
  GenerationConfig config;
  apply_generation_override(config, "sampler=[{top_k: 3}, {top_k: 2}]");
  apply_generation_override(config, "sampler.1.top_k=7");
  EXPECT_EQ(describe_chain(config), "- top_k: {k: 3}\n- top_k: {k: 7}\n");
  GenerationConfig fresh;
  apply_generation_override(fresh,
                            "sampler.1.temperature=0.1");  // the default chain is written out
  EXPECT_NE(describe_chain(fresh).find("value: 0.1"), std::string::npos);
}

TEST(Override, GreedyNeedsNoValue) {
  GenerationConfig config;
  set_stage(config, "greedy");
  EXPECT_NE(describe_chain(config).find("- greedy"), std::string::npos);
  set_stage(config, "temperature=0.9");
  EXPECT_EQ(describe_chain(config).find("- greedy"), std::string::npos);
}

TEST(Override, FaultsLeaveTheConfigAsItWas) {
  GenerationConfig config;
  const std::string before = dump_config(config);
  for (const char* assignment :
       {"temprature=1", "temperature=hot", "max_new_tokens=-3", "top_p=7", "repetition.theta=2",
        "stop=[\"\"]", "mirostat=5", "sampler=[nothing]", "seed"}) {
    EXPECT_THROW(apply_generation_override(config, assignment), Error) << assignment;
    EXPECT_EQ(dump_config(config), before) << assignment;
  }
  expect_error([&] { apply_generation_override(config, "temprature=1"); },
               {"unknown key temprature", "did you mean temperature?"});
  expect_error([&] { apply_generation_override(config, "max_new_token=1"); },
               {"did you mean max_new_tokens?"});
  expect_error([&] { apply_generation_override(config, "top_p=7"); }, {"top_p", "[0, 1]"});
}

}  // namespace
}  // namespace continuo::test
