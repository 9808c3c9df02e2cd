// The Llama family in Hugging Face's terms: RMSNorm, rotary embedding, grouped-query attention,
// gated MLP. Most families are Llama with additions and share its keys of config.json and its
// names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "models/families/checkpoint_names.h"
#include "models/families/config_reader.h"
#include "models/families/rope_config.h"
#include "nn/model_spec.h"

namespace continuo {

// What a family's config.json means when a key is absent.
struct LlamaDefaults {
  int64_t kv_heads = 0;  // 0 = heads
  int64_t head_dim = 0;  // 0 = hidden / heads
  int64_t context = 2048;
  double norm_epsilon = 1e-6;
  bool tie_embeddings = false;
  const char* activation_key = "hidden_act";
  const char* activation = "silu";
};

// The keys that Llama and its relatives share, rotation excepted.
ModelSpec read_llama_shape(ConfigReader& config, const LlamaDefaults& defaults);
nlohmann::json write_llama_shape(const ModelSpec& spec, const char* model_type,
                                 const char* architecture);

// "gelu_new" → Activation::gelu_tanh; Error naming the key.
Activation read_activation(ConfigReader& config, const char* key, const char* fallback);
const char* activation_name(Activation activation);

// Sets whether the four projections of every layer's attention have biases.
void set_attention_bias(ModelSpec& spec, bool biases);

// Which layers have the window, from layer_types; `fallback` where the key is absent.
std::vector<bool> read_layer_types(ConfigReader& config, int64_t layers,
                                   std::vector<bool> fallback);
void set_windows(ModelSpec& spec, int64_t window, const std::vector<bool>& windowed);
int64_t window_of(const ModelSpec& spec);  // of the layers that have one; 0 = none does
nlohmann::json layer_types(const ModelSpec& spec);

extern const NameMap kLlamaNames;

ModelSpec read_llama_config(const nlohmann::json& config, const std::filesystem::path& file);
nlohmann::json write_llama_config(const ModelSpec& spec);
// "blocks_3.attention.query.weight" → "model.layers.3.self_attn.q_proj.weight"
std::string llama_checkpoint_name(const std::string& parameter);

}  // namespace continuo
