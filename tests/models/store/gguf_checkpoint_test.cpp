#include "models/store/gguf_checkpoint.h"

#include <algorithm>
#include <fstream>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/json.h"
#include "io/model_tensors.h"
#include "models/store/model.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

fs::path golden_family(const std::string& name) {
  return fs::path(CONTINUO_SOURCE_DIR) / "tests/golden/families" / name;
}

GgufContent content_of(const fs::path& directory, const GgufTypes& types = GgmlType::kF32) {
  return gguf_content(read_json(directory / "config.json"), read_model_tensors(directory), types);
}

std::string fault_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// A copy of a golden checkpoint with the few settings that llama.cpp fixes set to its values.
void copy_for_gguf(const std::string& family, const fs::path& to) {
  fs::copy(golden_family(family), to,
           fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  nlohmann::json config = read_json(to / "config.json");
  if (family == "smollm3") {
    config["no_rope_layer_interval"] = 4;
    config.erase("no_rope_layers");
  }
  if (family == "gemma2") config["query_pre_attn_scalar"] = config["head_dim"];
  std::ofstream(to / "config.json") << config.dump();
}

class GgufFamilyTest : public testing::TestWithParam<const char*> {};

TEST_P(GgufFamilyTest, AFileHoldsTheSameModel) {
  const test::TempDir temp;
  const fs::path directory = temp.path() / "hf";
  copy_for_gguf(GetParam(), directory);
  const Model original = load_model(directory);
  const fs::path file = temp.path() / "model.gguf";
  const GgufContent content = content_of(directory);
  write_gguf(file, content.metadata, content.tensors);
  const Model back = load_model(file);
  EXPECT_EQ(back.family, original.family);
  EXPECT_TRUE(back.decoder->spec() == original.decoder->spec());
  const auto parameters = back.decoder->named_parameters();
  for (const auto& item : original.decoder->named_parameters()) {
    // Gemma's norms go through 1 + weight, which rounds.
    EXPECT_LT(test::max_difference(item.value(), parameters[item.key()]), 2e-7) << item.key();
  }
  // Left in the file, the same matrices come a few rows at a time.
  const Model stored = load_model(file, {.held = Held::stored});
  for (const auto& [name, matrix] : stored.decoder->stored_matrices()) {
    const at::Tensor& whole = parameters[name];
    for (int64_t begin = 0; begin < matrix->out(); begin += 5) {
      const int64_t end = std::min(begin + 5, matrix->out());
      EXPECT_TRUE(matrix->rows(begin, end).equal(whole.narrow(0, begin, end - begin))) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, GgufFamilyTest,
                         testing::Values("llama", "llama_linear", "qwen3", "smollm3", "olmo2",
                                         "gemma2", "gpt2", "gpt_neox", "gpt_neox_sequential"),
                         [](const auto& family) { return std::string(family.param); });

TEST(GgufCheckpoint, WhatLlamaCppCannotExpressIsRefusedByName) {
  EXPECT_NE(fault_of([] { content_of(golden_family("llama_dynamic")); }).find("dynamic"),
            std::string::npos);
  EXPECT_NE(fault_of([] { content_of(golden_family("llama_yarn_mscale")); }).find("rope's"),
            std::string::npos);
  EXPECT_NE(fault_of([] { content_of(golden_family("smollm3")); }).find("no_rope_layer_interval"),
            std::string::npos);
  EXPECT_NE(fault_of([] { content_of(golden_family("gemma2")); }).find("query_pre_attn_scalar"),
            std::string::npos);
  nlohmann::json config = read_json(golden_family("llama") / "config.json");
  config["model_type"] = "bert";
  EXPECT_NE(fault_of([&] { gguf_content(config, {}, GgmlType::kF32); }).find("'bert'"),
            std::string::npos);
}

TEST(GgufCheckpoint, RowsThatAreNoWholeBlocksKeepMoreBits) {
  const GgufContent content = content_of(golden_family("llama"), GgmlType::kQ4_K);
  EXPECT_FALSE(content.other_types.empty());
  for (const GgufTensor& tensor : content.tensors) {
    EXPECT_EQ(tensor.tensor.size(-1) % ggml_format(tensor.type).block_size, 0) << tensor.name;
    const bool vector = tensor.tensor.dim() == 1;
    EXPECT_TRUE(!vector || tensor.type == GgmlType::kF32) << tensor.name;
  }
}

TEST(GgufCheckpoint, DamagedFilesAreRefusedByKeyAndTensor) {
  const test::TempDir temp;
  const fs::path file = temp.path() / "model.gguf";
  const GgufContent good = content_of(golden_family("llama"));
  const auto fault = [&](const GgufContent& content) {
    write_gguf(file, content.metadata, content.tensors);
    return fault_of([&] { load_model(file); });
  };
  GgufContent content = good;
  std::erase_if(content.metadata,
                [](const auto& entry) { return entry.first == "llama.block_count"; });
  EXPECT_NE(fault(content).find("llama.block_count is missing"), std::string::npos);
  content = good;
  for (auto& [key, value] : content.metadata) {
    if (key == "general.architecture") value = std::string("mamba");
  }
  EXPECT_NE(fault(content).find("'mamba'"), std::string::npos);
  content = good;
  content.tensors.pop_back();
  EXPECT_NE(fault(content).find("is missing"), std::string::npos);
  content = good;
  content.tensors.push_back({"blk.0.strange.weight", at::zeros({4}), GgmlType::kF32});
  EXPECT_NE(fault(content).find("blk.0.strange.weight"), std::string::npos);
}

// Llama 3's rule is kept as factors; the rule comes back from them.
TEST(GgufCheckpoint, FrequencyFactorsOfLlama3ComeBackAsTheRule) {
  nlohmann::json config = read_json(golden_family("llama") / "config.json");
  config.erase("rope_scaling");
  config["rope_theta"] = 500000.0;
  config["rope_parameters"] = {
      {"rope_type", "llama3"},   {"rope_theta", 500000.0},
      {"factor", 32.0},          {"low_freq_factor", 1.0},
      {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 8192}};
  // Heads wide enough for slow frequencies.
  config["head_dim"] = 64;
  const int64_t hidden = config["hidden_size"], heads = config["num_attention_heads"];
  const int64_t kv_heads = config["num_key_value_heads"];
  std::map<std::string, at::Tensor> tensors = read_model_tensors(golden_family("llama"));
  for (auto& [name, tensor] : tensors) {
    if (name.ends_with("q_proj.weight")) tensor = at::ones({heads * 64, hidden});
    if (name.ends_with("k_proj.weight") || name.ends_with("v_proj.weight"))
      tensor = at::ones({kv_heads * 64, hidden});
    if (name.ends_with("o_proj.weight")) tensor = at::ones({hidden, heads * 64});
  }
  std::erase_if(tensors, [](const auto& item) { return item.first.ends_with("_proj.bias"); });
  config["attention_bias"] = false;
  config["mlp_bias"] = false;
  const GgufContent content = gguf_content(config, tensors, GgmlType::kF32);
  const test::TempDir temp;
  const fs::path file = temp.path() / "model.gguf";
  write_gguf(file, content.metadata, content.tensors);
  const GgufCheckpoint back = read_gguf_checkpoint(GgufFile(file));
  EXPECT_EQ(back.config["rope_parameters"]["rope_type"], "llama3");
  EXPECT_EQ(back.config["rope_parameters"]["factor"], 32.0);
}

TEST(GgufCheckpoint, MatricesThatMlpsReadWithMayHaveFewerBits) {
  const fs::path directory = golden_family("llama");
  const nlohmann::json config = read_json(directory / "config.json");
  const GgufTypes mixed = *gguf_types("q4_1_m");
  std::map<std::string, GgmlType> types;
  for (const GgufTensor& tensor : content_of(directory, mixed).tensors)
    types[tensor.name] = tensor.type;
  EXPECT_EQ(types.at("blk.1.attn_v.weight"), GgmlType::kQ5_1);
  EXPECT_EQ(types.at("blk.0.ffn_gate.weight"), GgmlType::kQ4_1);
  EXPECT_EQ(types.at("token_embd.weight"), GgmlType::kQ8_0);
  EXPECT_EQ(types.at("blk.0.attn_norm.weight"), GgmlType::kF32);
  EXPECT_EQ(gguf_matrix_type(config, "model.layers.1.mlp.down_proj.weight", mixed),
            GgmlType::kQ5_1);
  EXPECT_EQ(gguf_matrix_type(config, "model.layers.1.mlp.up_proj.weight", mixed), GgmlType::kQ4_1);
  EXPECT_FALSE(gguf_types("q4_1_x") || gguf_types("q6_k")) << "nobody writes these";
}

}  // namespace
}  // namespace continuo
