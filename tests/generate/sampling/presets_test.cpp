// Every file under configs/generation loads; the ones named after other systems reproduce their
// order and defaults on hand cases.
#include <filesystem>

#include "generate/generation_config.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

const std::filesystem::path kPresets =
    std::filesystem::path(CONTINUO_SOURCE_DIR) / "configs/generation";

GenerationConfig preset(const std::string& name) {
  GenerationConfig config;
  Problems problems;
  load_config(load_yaml(kPresets / (name + ".yaml")), config, problems);
  validate(config, problems);
  problems.raise();
  return config;
}

Row shaped(const GenerationConfig& config, const Row& row) {
  return apply_chain(describe_chain(config), row, {5, 5, 5});
}

std::vector<std::string> order(const GenerationConfig& config) {
  std::vector<std::string> names;
  for (const WrittenStage& stage : resolve_chain(config)) names.emplace_back(stage.spec->name);
  return names;
}

TEST(Presets, AllLoadWithoutNotesAndDrawFromAnyRow) {
  int count = 0;
  for (const auto& file : std::filesystem::directory_iterator(kPresets)) {
    const GenerationConfig config = preset(file.path().stem());
    EXPECT_TRUE(chain_notes(config).empty()) << file.path();
    for (uint64_t seed = 0; seed < 10; ++seed) {
      EXPECT_FALSE(shaped(config, random_row(seed, 200)).empty()) << file.path();
    }
    ++count;
  }
  EXPECT_EQ(count, 6);
}

TEST(Presets, Greedy) {
  EXPECT_EQ(kept(shaped(preset("greedy"), {{3, 1.}, {5, 1.}})), std::vector<TokenId>{3});
}

TEST(Presets, OrdersOfOtherSystems) {
  EXPECT_EQ(order(preset("transformers")),
            (std::vector<std::string>{"repetition", "temperature", "top_k", "top_p", "min_p",
                                      "typical", "epsilon", "eta"}));
  EXPECT_EQ(order(preset("llamacpp")),
            (std::vector<std::string>{"repetition", "frequency", "presence", "dry", "top_n_sigma",
                                      "top_k", "typical", "top_p", "min_p", "xtc", "temperature"}));
  EXPECT_EQ(order(preset("vllm")),
            (std::vector<std::string>{"min_new_tokens", "repetition", "frequency", "presence",
                                      "temperature", "min_p", "top_k", "top_p"}));
}

TEST(Presets, TransformersAppliesTemperatureBeforeTopP) {
  GenerationConfig config = preset("transformers");
  set_stage(config, "top_p=0.8");
  EXPECT_EQ(kept(shaped(config, {{0, 3.}, {1, 2.}, {2, 1.}})), (std::vector<TokenId>{0, 1}));
  set_stage(config, "temperature=0.5");
  EXPECT_EQ(kept(shaped(config, {{0, 3.}, {1, 2.}, {2, 1.}})), (std::vector<TokenId>{0}));
}

TEST(Presets, LlamacppAppliesTemperatureLast) {
  GenerationConfig config = preset("llamacpp");
  set_stage(config, "top_p=0.8");
  set_stage(config, "temperature=0.5");
  const Row after = shaped(config, {{0, 3.}, {1, 2.}, {2, 1.}});
  expect_rows_near(after, {{0, 6.}, {1, 4.}}, 1e-12);
}

TEST(Presets, DefaultsOfOtherSystems) {
  Row row;
  for (TokenId id = 0; id < 100; ++id) row[id] = 0;
  EXPECT_EQ(shaped(preset("transformers"), row).size(), 50u);  // top_k 50
  EXPECT_EQ(shaped(preset("llamacpp"), row).size(), 38u);      // top_k 40, then 95 % of it
  EXPECT_EQ(shaped(preset("vllm"), row), row);                 // everything off
  row[7] = 4;  // e^4 = 54.6 > 20: min_p 0.05 leaves it alone in llama.cpp
  EXPECT_EQ(kept(shaped(preset("llamacpp"), row)), std::vector<TokenId>{7});
}

}  // namespace
}  // namespace continuo::test
