// GPT-NeoX and Pythia: LayerNorm, attention and MLP in parallel, a quarter of each head rotates, an
// ungated GELU MLP. Its checkpoints interleave query, key and value head by head (arXiv 2204.06745,
// 2304.01373).
#include <array>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/families/families.h"
#include "models/families/llama.h"

namespace continuo {

using nlohmann::json;

namespace {

TransformerOptions read_gpt_neox(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  TransformerOptions o;
  o.layer_norm = o.mlp_bias = true;
  o.gated = false;
  o.layers = c.size("num_hidden_layers");
  o.hidden = c.size("hidden_size");
  o.heads = o.kv_heads = c.size("num_attention_heads");
  o.head_dim = o.hidden / o.heads;
  o.intermediate = c.size("intermediate_size");
  o.vocabulary = c.size("vocab_size");
  o.context = c.size("max_position_embeddings", 2048);
  o.norm_epsilon = c.positive("layer_norm_eps", 1e-5);
  o.tie_embeddings = c.flag("tie_word_embeddings", false);
  o.activation = read_activation(c, "hidden_act", "gelu");
  o.attention_bias = o.output_bias = c.flag("attention_bias", true);
  o.parallel = c.flag("use_parallel_residual", true);
  if (o.head_dim < 1 || o.hidden % o.heads != 0) {
    throw Error(Location{.file = file.string()},
                fmt::format("hidden_size {} is not a multiple of num_attention_heads {}", o.hidden,
                            o.heads));
  }
  const RopeKeys keys = {
      .theta = "rotary_emb_base", .partial = "rotary_pct", .default_partial = 0.25};
  c.ignore("rope_theta");             // written for other tools, the same number
  c.ignore("partial_rotary_factor");  // likewise
  read_rope(c, keys, o);
  c.finish();
  return o;
}

json write_gpt_neox(const TransformerOptions& o) {
  json config = {{"model_type", "gpt_neox"},
                 {"architectures", {"GPTNeoXForCausalLM"}},
                 {"hidden_act", activation_name(o.activation)},
                 {"num_hidden_layers", o.layers},
                 {"hidden_size", o.hidden},
                 {"num_attention_heads", o.heads},
                 {"intermediate_size", o.intermediate},
                 {"vocab_size", o.vocabulary},
                 {"max_position_embeddings", o.context},
                 {"layer_norm_eps", o.norm_epsilon},
                 {"tie_word_embeddings", o.tie_embeddings},
                 {"attention_bias", o.attention_bias},
                 {"use_parallel_residual", o.parallel},
                 {"rotary_pct", partial_rotary_factor(o)},
                 {"rotary_emb_base", o.rope_theta},
                 {"attention_dropout", 0.0},
                 {"hidden_dropout", 0.0},
                 {"initializer_range", 0.02},
                 {"use_cache", true}};
  write_rope(config, o);
  config["rope_parameters"]["partial_rotary_factor"] = partial_rotary_factor(o);
  return config;
}

std::string gpt_neox_name(const std::string& parameter) {
  static constexpr std::array<NamePair, 3> kWhole = {{
      {"embedding", "gpt_neox.embed_in.weight"},
      {"head", "embed_out.weight"},
      {"norm.", "gpt_neox.final_layer_norm."},
  }};
  static constexpr std::array<NamePair, 8> kParts = {{
      {"attention_norm.", "input_layernorm."},
      {"mlp_norm.", "post_attention_layernorm."},
      {"attention.query.", "attention.query_key_value."},
      {"attention.key.", "attention.query_key_value."},
      {"attention.value.", "attention.query_key_value."},
      {"attention.output.", "attention.dense."},
      {"mlp.up.", "mlp.dense_h_to_4h."},
      {"mlp.down.", "mlp.dense_4h_to_h."},
  }};
  return NameMap{kWhole, "gpt_neox.layers.", kParts}.stored(parameter);
}

Placement gpt_neox_placement(const std::string& parameter, const TransformerOptions& o) {
  const std::array<const char*, 3> fused = {".attention.query.", ".attention.key.",
                                            ".attention.value."};
  for (size_t i = 0; i < fused.size(); ++i) {
    if (parameter.find(fused[i]) == std::string::npos) continue;
    return {
        .blocks = o.heads, .begin = static_cast<int64_t>(i) * o.head_dim, .width = 3 * o.head_dim};
  }
  return {};
}

void make_gpt_neox(TransformerOptions& o) {
  o.layer_norm = o.attention_bias = o.output_bias = o.mlp_bias = o.parallel = true;
  o.gated = false;
  o.activation = Activation::gelu;
  o.rotary_dim = o.head_dim >= 8 ? o.head_dim / 8 * 2 : 0;  // a quarter, even
}

}  // namespace

Family gpt_neox_family() {
  return {.name = "gpt_neox",
          .architecture = "GPTNeoXForCausalLM",
          .read_config = read_gpt_neox,
          .write_config = write_gpt_neox,
          .checkpoint_name = gpt_neox_name,
          .placement = gpt_neox_placement,
          .specialise = make_gpt_neox};
}

}  // namespace continuo
