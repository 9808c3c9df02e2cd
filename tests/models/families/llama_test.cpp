#include "models/families/llama.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace continuo {
namespace {

using nlohmann::json;

json plain_config() {
  return {{"model_type", "llama"},    {"num_hidden_layers", 2},  {"hidden_size", 24},
          {"num_attention_heads", 6}, {"intermediate_size", 40}, {"vocab_size", 53},
          {"num_key_value_heads", 2}};
}

std::string error_of(const json& config) {
  try {
    read_llama_config(config, "dir/config.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Llama, ConfigurationsRoundTrip) {
  ModelSpec spec = read_llama_config(plain_config(), "config.json");
  EXPECT_EQ(spec.layers(), 2);
  EXPECT_EQ(spec.blocks[0].attend().dim, 4);
  EXPECT_EQ(spec.blocks[0].attend().rotary, (Rotary{.dim = 4, .theta = 10000}));
  EXPECT_FALSE(spec.head.tied);
  for (BlockSpec& block : spec.blocks) {
    Attend& a = block.attend();
    a.dim = 8;
    a.rotary = Rotary{.dim = 8, .theta = 500};
    a.biases = a.output_bias = true;
  }
  spec.head.tied = true;
  const ModelSpec back = read_llama_config(write_llama_config(spec), "config.json");
  EXPECT_EQ(back.blocks[0].attend().rotary->theta, 500);
  EXPECT_EQ(back.blocks[0].attend().dim, 8);
  EXPECT_TRUE(back.head.tied);
  EXPECT_TRUE(back.blocks[0].attend().biases);
  EXPECT_EQ(back.norm.epsilon, spec.norm.epsilon);
  EXPECT_EQ(back, spec);
}

TEST(Llama, KeysThatWouldChangeTheMathsAreRefusedByName) {
  json config = plain_config();
  config["hidden_act"] = "quick_gelu";
  EXPECT_NE(error_of(config).find("hidden_act"), std::string::npos);
  config = plain_config();
  config["rope_scaling"] = {{"rope_type", "spiral"}, {"factor", 4.0}};
  EXPECT_NE(error_of(config).find("spiral"), std::string::npos);
  config = plain_config();
  config["quantization_config"] = {{"bits", 4}};
  EXPECT_NE(error_of(config).find("quantization_config"), std::string::npos);
}

TEST(Llama, FaultyKeysAreNamedWithTheirFile) {
  json config = plain_config();
  config.erase("hidden_size");
  EXPECT_EQ(error_of(config).find("dir/config.json"), 0u);
  EXPECT_NE(error_of(config).find("'hidden_size' is missing"), std::string::npos);
  config["hidden_size"] = "24";
  EXPECT_NE(error_of(config).find("positive integer"), std::string::npos);
  config["hidden_size"] = -1;
  EXPECT_NE(error_of(config).find("positive integer"), std::string::npos);
  config = plain_config();
  config["num_key_value_heads"] = 4;
  EXPECT_NE(error_of(config).find("do not fit"), std::string::npos);
}

TEST(Llama, ParametersHaveTheirHuggingFaceNames) {
  EXPECT_EQ(llama_checkpoint_name("embedding"), "model.embed_tokens.weight");
  EXPECT_EQ(llama_checkpoint_name("blocks_12.attention.output.bias"),
            "model.layers.12.self_attn.o_proj.bias");
  EXPECT_EQ(llama_checkpoint_name("blocks_0.mlp_norm.weight"),
            "model.layers.0.post_attention_layernorm.weight");
  EXPECT_THROW(llama_checkpoint_name("blocks_0.other.weight"), Error);
}

}  // namespace
}  // namespace continuo
