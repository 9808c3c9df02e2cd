#include "models/llama.h"

#include <array>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/config_json.h"

namespace continuo {

using nlohmann::json;

namespace {

// The rotary base stands in `rope_theta`, or since transformers 5 in `rope_parameters`. Scaled variants change the
// maths and are refused by name.
double read_rope_theta(const json& config, const std::filesystem::path& file) {
  double theta = optional_key(config, file, "rope_theta", 10000.0);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (!config.contains(key) || config[key].is_null()) continue;
    const json& rope = config[key];
    theta = optional_key(rope, file, "rope_theta", theta);
    std::string type = optional_key<std::string>(rope, file, "rope_type", "default");
    type = optional_key<std::string>(rope, file, "type", type);
    if (type != "default") {
      throw Error(Location{.file = file.string()}, fmt::format("{}.rope_type '{}' is not supported", key, type),
                  "Supported: default.");
    }
  }
  return theta;
}

}  // namespace

TransformerOptions read_llama_config(const json& config, const std::filesystem::path& file) {
  TransformerOptions o;
  o.layers = required_size(config, file, "num_hidden_layers");
  o.hidden = required_size(config, file, "hidden_size");
  o.heads = required_size(config, file, "num_attention_heads");
  o.kv_heads = optional_key(config, file, "num_key_value_heads", o.heads);
  o.head_dim = optional_key(config, file, "head_dim", o.hidden / o.heads);
  o.intermediate = required_size(config, file, "intermediate_size");
  o.vocabulary = required_size(config, file, "vocab_size");
  o.context = optional_key<int64_t>(config, file, "max_position_embeddings", 2048);
  o.norm_epsilon = optional_key(config, file, "rms_norm_eps", 1e-6);
  o.rope_theta = read_rope_theta(config, file);
  o.tie_embeddings = optional_key(config, file, "tie_word_embeddings", false);
  o.attention_bias = optional_key(config, file, "attention_bias", false);
  o.mlp_bias = optional_key(config, file, "mlp_bias", false);
  require_value(config, file, "hidden_act", "silu");
  if (config.contains("quantization_config") && !config["quantization_config"].is_null()) {
    throw Error(Location{.file = file.string()}, "quantization_config: quantised weights are not supported",
                "Save the model with plain float weights.");
  }
  if (o.kv_heads < 1 || o.heads % o.kv_heads != 0 || o.head_dim < 2 || o.head_dim % 2 != 0) {
    throw Error(Location{.file = file.string()},
                fmt::format("num_attention_heads {}, num_key_value_heads {} and head_dim {} do not fit together", o.heads,
                            o.kv_heads, o.head_dim));
  }
  return o;
}

json write_llama_config(const TransformerOptions& o) {
  return {{"model_type", "llama"},
          {"architectures", {"LlamaForCausalLM"}},
          {"hidden_act", "silu"},
          {"num_hidden_layers", o.layers},
          {"hidden_size", o.hidden},
          {"num_attention_heads", o.heads},
          {"num_key_value_heads", o.kv_heads},
          {"head_dim", o.head_dim},
          {"intermediate_size", o.intermediate},
          {"vocab_size", o.vocabulary},
          {"max_position_embeddings", o.context},
          {"rms_norm_eps", o.norm_epsilon},
          {"rope_theta", o.rope_theta},
          {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", o.rope_theta}}},
          {"tie_word_embeddings", o.tie_embeddings},
          {"attention_bias", o.attention_bias},
          {"mlp_bias", o.mlp_bias},
          {"attention_dropout", 0.0},
          {"initializer_range", 0.02},
          {"use_cache", true}};
}

std::string llama_checkpoint_name(const std::string& parameter) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kWhole = {{
      {"embedding", "model.embed_tokens.weight"},
      {"head", "lm_head.weight"},
      {"norm.weight", "model.norm.weight"},
  }};
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kParts = {{
      {"attention_norm.", "input_layernorm."},
      {"mlp_norm.", "post_attention_layernorm."},
      {"attention.query.", "self_attn.q_proj."},
      {"attention.key.", "self_attn.k_proj."},
      {"attention.value.", "self_attn.v_proj."},
      {"attention.output.", "self_attn.o_proj."},
      {"mlp.gate.", "mlp.gate_proj."},
      {"mlp.up.", "mlp.up_proj."},
      {"mlp.down.", "mlp.down_proj."},
  }};
  for (const auto& [ours, theirs] : kWhole) {
    if (parameter == ours) return std::string(theirs);
  }
  constexpr std::string_view kBlocks = "blocks_";
  const size_t dot = parameter.find('.');
  if (parameter.starts_with(kBlocks) && dot != std::string::npos) {
    const std::string layer = parameter.substr(kBlocks.size(), dot - kBlocks.size());
    const std::string_view rest = std::string_view(parameter).substr(dot + 1);
    for (const auto& [ours, theirs] : kParts) {
      if (rest.starts_with(ours)) {
        return fmt::format("model.layers.{}.{}{}", layer, theirs, rest.substr(ours.size()));
      }
    }
  }
  fail("parameter '{}' has no name in the Llama family", parameter);
}

}  // namespace continuo
