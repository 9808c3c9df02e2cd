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

// Leaves what models of the family differ in as it is.
void make_gpt_neox(ModelSpec& spec) {
  spec.norm.centred = true;
  for (BlockSpec& block : spec.blocks) {
    block.norm.centred = true;
    block.dense().gated = false;
    block.dense().biases = true;
  }
}

void make_new_gpt_neox(ModelSpec& spec) {
  make_gpt_neox(spec);
  set_attention_bias(spec, true);
  for (BlockSpec& block : spec.blocks) {
    block.parallel = true;
    block.dense().activation = Activation::gelu;
    const int64_t dim = block.attend().dim;
    block.attend().rotary->dim = dim >= 8 ? dim / 8 * 2 : dim;  // a quarter, even
  }
}

ModelSpec read_gpt_neox(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  ModelSpec spec;
  Attend a;
  Dense mlp;
  const int64_t layers = c.size("num_hidden_layers");
  const int64_t hidden = spec.embedding.hidden = c.size("hidden_size");
  a.heads = a.kv_heads = c.size("num_attention_heads");
  a.dim = hidden / a.heads;
  mlp.width = c.size("intermediate_size");
  spec.embedding.vocabulary = c.size("vocab_size");
  spec.context = c.size("max_position_embeddings", 2048);
  spec.norm.epsilon = c.positive("layer_norm_eps", 1e-5);
  spec.head.tied = c.flag("tie_word_embeddings", false);
  mlp.activation = read_activation(c, "hidden_act", "gelu");
  a.biases = a.output_bias = c.flag("attention_bias", true);
  const bool parallel = c.flag("use_parallel_residual", true);
  if (a.dim < 1 || hidden % a.heads != 0) {
    throw Error(
        Location{.file = file.string()},
        fmt::format("hidden_size {} is not a multiple of num_attention_heads {}", hidden, a.heads));
  }
  spec.blocks.assign(layers,
                     BlockSpec{.norm = spec.norm, .parallel = parallel, .mixer = a, .mlp = mlp});
  make_gpt_neox(spec);
  const RopeKeys keys = {
      .theta = "rotary_emb_base", .partial = "rotary_pct", .default_partial = 0.25};
  c.ignore("rope_theta");             // written for other tools, the same number
  c.ignore("partial_rotary_factor");  // likewise
  read_rope(c, keys, spec);
  c.finish();
  return spec;
}

json write_gpt_neox(const ModelSpec& spec) {
  const BlockSpec& block = spec.blocks.front();
  json config = {{"model_type", "gpt_neox"},
                 {"architectures", {"GPTNeoXForCausalLM"}},
                 {"hidden_act", activation_name(block.dense().activation)},
                 {"num_hidden_layers", spec.layers()},
                 {"hidden_size", spec.embedding.hidden},
                 {"num_attention_heads", block.attend().heads},
                 {"intermediate_size", block.dense().width},
                 {"vocab_size", spec.embedding.vocabulary},
                 {"max_position_embeddings", spec.context},
                 {"layer_norm_eps", spec.norm.epsilon},
                 {"tie_word_embeddings", spec.head.tied},
                 {"attention_bias", block.attend().biases},
                 {"use_parallel_residual", block.parallel},
                 {"rotary_pct", partial_rotary_factor(spec)},
                 {"rotary_emb_base", main_rotary(spec).theta},
                 {"attention_dropout", 0.0},
                 {"hidden_dropout", 0.0},
                 {"initializer_range", 0.02},
                 {"use_cache", true}};
  write_rope(config, spec);
  config["rope_parameters"]["partial_rotary_factor"] = partial_rotary_factor(spec);
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

Placement gpt_neox_placement(const std::string& parameter, const ModelSpec& spec) {
  const Attend& a = spec.blocks.front().attend();
  const std::array<const char*, 3> fused = {".attention.query.", ".attention.key.",
                                            ".attention.value."};
  for (size_t i = 0; i < fused.size(); ++i) {
    if (parameter.find(fused[i]) == std::string::npos) continue;
    return {.blocks = a.heads, .begin = static_cast<int64_t>(i) * a.dim, .width = 3 * a.dim};
  }
  return {};
}

}  // namespace

Family gpt_neox_family() {
  return {.name = "gpt_neox",
          .architecture = "GPTNeoXForCausalLM",
          .read_config = read_gpt_neox,
          .write_config = write_gpt_neox,
          .checkpoint_name = gpt_neox_name,
          .placement = gpt_neox_placement,
          .specialise = make_new_gpt_neox};
}

}  // namespace continuo
