// config.json as published checkpoints have it, in transformers 4's spelling, and what must be
// refused in each family.
#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/families/registry.h"

namespace continuo {
namespace {

using nlohmann::json;

ModelSpec spec_of(const json& config) {
  const Family* family = find_family(config["model_type"].get<std::string>());
  return family->read_config(config, "config.json");
}

std::string refusal(json config, const json& change) {
  config.update(change);
  try {
    spec_of(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

// Equal to what the family writes and reads again.
void expect_round_trip(const json& config) {
  const Family* family = find_family(config["model_type"].get<std::string>());
  const ModelSpec spec = spec_of(config);
  EXPECT_EQ(family->read_config(family->write_config(spec), "config.json"), spec)
      << config["model_type"];
}

json llama3_config() {
  return json::parse(
      R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu",
    "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192, "is_llama_config": true,
    "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
    "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_interleaved": false, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.45.0.dev0",
    "use_cache": true, "vocab_size": 128256})");
}

json qwen2_config() {
  return json::parse(
      R"({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
    "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 896, "initializer_range": 0.02,
    "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 21, "model_type": "qwen2",
    "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
    "transformers_version": "4.43.1", "use_cache": true, "use_sliding_window": false, "vocab_size": 151936})");
}

json phi3_config() {
  json config = json::parse(
      R"({"_name_or_path": "Phi-3-mini-128k-instruct", "architectures": ["Phi3ForCausalLM"],
    "attention_dropout": 0.0, "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}, "bos_token_id": 1,
    "embd_pdrop": 0.0, "eos_token_id": 32000, "hidden_act": "silu", "hidden_size": 3072, "initializer_range": 0.02,
    "intermediate_size": 8192, "max_position_embeddings": 131072, "model_type": "phi3", "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 32, "original_max_position_embeddings": 4096,
    "pad_token_id": 32000, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "sliding_window": 262144, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "transformers_version": "4.40.2", "use_cache": true, "attention_bias": false, "vocab_size": 32064})");
  config["rope_scaling"] = {{"type", "longrope"},
                            {"short_factor", std::vector<double>(48, 1.05)},
                            {"long_factor", std::vector<double>(48, 20.0)}};
  return config;
}

json gpt2_config() {
  return json::parse(
      R"({"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
    "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12,
    "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1,
    "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true,
    "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257})");
}

json pythia_config() {
  return json::parse(
      R"({"architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 0, "eos_token_id": 0,
    "hidden_act": "gelu", "hidden_size": 512, "initializer_range": 0.02, "intermediate_size": 2048,
    "layer_norm_eps": 1e-05, "max_position_embeddings": 2048, "model_type": "gpt_neox", "num_attention_heads": 8,
    "num_hidden_layers": 6, "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": false,
    "torch_dtype": "float16", "transformers_version": "4.24.0", "use_cache": true, "use_parallel_residual": true,
    "vocab_size": 50304})");
}

json gemma2_config() {
  return json::parse(
      R"({"architectures": ["Gemma2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "attn_logit_softcapping": 50.0, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1,
    "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "initializer_range": 0.02,
    "intermediate_size": 9216, "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 8,
    "num_hidden_layers": 26, "num_key_value_heads": 4, "pad_token_id": 0, "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096, "torch_dtype": "float32",
    "transformers_version": "4.42.4", "use_cache": true, "vocab_size": 256000})");
}

json gemma3_config() {
  return json::parse(
      R"({"architectures": ["Gemma3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "attn_logit_softcapping": null, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": [1, 106],
    "final_logit_softcapping": null, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152,
    "initializer_range": 0.02, "intermediate_size": 6912, "max_position_embeddings": 32768,
    "model_type": "gemma3_text", "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1,
    "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000,
    "rope_scaling": null, "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6,
    "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0", "use_cache": true, "vocab_size": 262144})");
}

TEST(FamilyConfigs, PublishedFilesMeanWhatTheirModelsAre) {
  const ModelSpec llama = spec_of(llama3_config());
  EXPECT_EQ(llama.blocks[0].attend().rotary->scaling.kind, RopeKind::llama3);
  EXPECT_EQ(llama.blocks[0].attend().rotary->scaling.original_context, 8192);
  EXPECT_EQ(llama.blocks[0].attend().rotary->theta, 500000);
  const ModelSpec qwen = spec_of(qwen2_config());
  EXPECT_TRUE(qwen.blocks[0].attend().biases);
  EXPECT_FALSE(qwen.blocks[0].attend().output_bias);
  for (const BlockSpec& block : qwen.blocks) EXPECT_EQ(block.attend().window, 0);
  const ModelSpec phi = spec_of(phi3_config());
  EXPECT_EQ(phi.blocks[0].attend().rotary->scaling.kind, RopeKind::longrope);
  EXPECT_NEAR(phi.blocks[0].attend().rotary->scaling.attention_factor,
              std::sqrt(1 + std::log(32.0) / std::log(4096.0)), 1e-12);
  const ModelSpec gpt2 = spec_of(gpt2_config());
  EXPECT_EQ(gpt2.embedding.positions, 1024);
  EXPECT_FALSE(gpt2.blocks[0].attend().rotary);
  EXPECT_TRUE(gpt2.head.tied && gpt2.norm.centred && gpt2.blocks[0].norm.centred);
  EXPECT_EQ(gpt2.blocks[0].dense().width, 3072);
  const ModelSpec pythia = spec_of(pythia_config());
  EXPECT_TRUE(pythia.blocks[0].parallel);
  EXPECT_EQ(pythia.blocks[0].attend().rotary->dim, 16);
  const ModelSpec gemma2 = spec_of(gemma2_config());
  EXPECT_EQ(gemma2.blocks[0].attend().window, 4096);
  EXPECT_EQ(gemma2.blocks[1].attend().window, 0);
  EXPECT_EQ(gemma2.blocks[0].attend().softcap, 50);
  EXPECT_EQ(gemma2.blocks[0].attend().scale, 1.0 / 16);
  const ModelSpec gemma3 = spec_of(gemma3_config());
  EXPECT_EQ(gemma3.blocks[4].attend().window, 512);
  EXPECT_EQ(gemma3.blocks[5].attend().window, 0);
  EXPECT_EQ(gemma3.blocks[4].attend().rotary->theta, 10000);
  EXPECT_EQ(gemma3.blocks[5].attend().rotary->theta, 1000000);
  for (const json& config : {llama3_config(), qwen2_config(), phi3_config(), gpt2_config(),
                             pythia_config(), gemma2_config(), gemma3_config()}) {
    expect_round_trip(config);
  }
}

TEST(FamilyConfigs, WindowsFollowTheirSwitches) {
  json config = qwen2_config();
  config["use_sliding_window"] = true;
  config["sliding_window"] = 100;
  EXPECT_EQ(spec_of(config).blocks[21].attend().window, 100);
  EXPECT_EQ(spec_of(config).blocks[20].attend().window, 0);
  expect_round_trip(config);
  config = llama3_config();
  config["model_type"] = "mistral";
  for (const char* key : {"attention_bias", "mlp_bias"}) config.erase(key);
  for (const BlockSpec& block : spec_of(config).blocks) EXPECT_EQ(block.attend().window, 4096);
  config["sliding_window"] = nullptr;
  for (const BlockSpec& block : spec_of(config).blocks) EXPECT_EQ(block.attend().window, 0);
  expect_round_trip(config);
}

TEST(FamilyConfigs, WhatChangesTheMathsIsRefusedByName) {
  const auto expect = [](const json& config, const json& change, const std::string& named) {
    const std::string text = refusal(config, change);
    EXPECT_NE(text.find(named), std::string::npos) << text;
  };
  expect(llama3_config(), {{"pretraining_tp", 2}}, "'pretraining_tp' is 2");
  expect(llama3_config(), {{"rope_interleaved", true}}, "'rope_interleaved'");
  expect(llama3_config(), {{"hidden_act", "xielu"}}, "'hidden_act'");
  expect(llama3_config(), {{"quantization_config", {{"bits", 4}}}}, "quantization_config");
  expect(llama3_config(), {{"rope_scaling", {{"rope_type", "proportional"}}}},
         "rope_scaling.rope_type");
  expect(llama3_config(), {{"rope_scaling", {{"rope_type", "linear"}}}}, "rope_scaling.factor");
  expect(llama3_config(), {{"rope_scaling", {{"rope_type", "linear"}, {"factor", -2}}}},
         "positive number");
  expect(llama3_config(),
         {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 2}, {"mystery", 1}}}},
         "rope_scaling.mystery");
  expect(llama3_config(), {{"rope_scaling", 3}}, "must be an object");
  expect(llama3_config(), {{"num_key_value_heads", 5}}, "do not fit");
  expect(qwen2_config(), {{"attention_bias", true}}, "'attention_bias'");
  expect(qwen2_config(), {{"layer_types", {"full_attention"}}}, "1 entries for 24 layers");
  expect(qwen2_config(), {{"use_sliding_window", "yes"}}, "true or false");
  expect(phi3_config(), {{"partial_rotary_factor", 0.3}}, "must be");
  expect(phi3_config(),
         {{"rope_scaling", {{"type", "longrope"}, {"short_factor", {1}}, {"long_factor", {1}}}}},
         "list of 48");
  expect(gpt2_config(), {{"scale_attn_by_inverse_layer_idx", true}},
         "'scale_attn_by_inverse_layer_idx'");
  expect(gpt2_config(), {{"scale_attn_weights", false}}, "'scale_attn_weights'");
  expect(gpt2_config(), {{"n_head", 7}}, "not a multiple");
  expect(pythia_config(), {{"rotary_pct", 0.01}}, "'rotary_pct'");
  expect(gemma2_config(), {{"use_bidirectional_attention", true}}, "'use_bidirectional_attention'");
  expect(gemma3_config(), {{"attn_logit_softcapping", 50.0}}, "'attn_logit_softcapping'");
  expect(gemma3_config(), {{"layer_types", {"chunked_attention"}}}, "chunked_attention");
}

}  // namespace
}  // namespace continuo
