// GPT-2: LayerNorm, learned positions, an ungated MLP with tanh-GELU, biases everywhere. Its
// checkpoints store matrices transposed ([in, out]) and query, key and value in one.
#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/families/families.h"
#include "models/families/llama.h"

namespace continuo {

using nlohmann::json;

namespace {

void make_gpt2(TransformerOptions& o) {
  o.layer_norm = true;
  o.attention_bias = o.output_bias = o.mlp_bias = true;
  o.gated = false;
  o.activation = Activation::gelu_tanh;
  o.learned_positions = true;
  o.rope_theta = TransformerOptions{}.rope_theta;
}

TransformerOptions read_gpt2(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  TransformerOptions o;
  make_gpt2(o);
  o.layers = c.size("n_layer");
  o.hidden = c.size("n_embd");
  o.heads = o.kv_heads = c.size("n_head");
  o.head_dim = std::max<int64_t>(1, o.hidden / o.heads);
  o.intermediate = c.size("n_inner", 4 * o.hidden);
  o.vocabulary = c.size("vocab_size");
  o.context = c.size("n_positions", 1024);
  o.norm_epsilon = c.positive("layer_norm_epsilon", 1e-5);
  o.tie_embeddings = c.flag("tie_word_embeddings", true);
  o.activation = read_activation(c, "activation_function", "gelu_new");
  c.expect("scale_attn_weights", true);
  if (o.hidden % o.heads != 0) {
    throw Error(Location{.file = file.string()},
                fmt::format("n_embd {} is not a multiple of n_head {}", o.hidden, o.heads));
  }
  c.finish();
  return o;
}

json write_gpt2(const TransformerOptions& o) {
  const std::string activation = activation_name(o.activation);
  return {{"model_type", "gpt2"},
          {"architectures", {"GPT2LMHeadModel"}},
          {"activation_function", o.activation == Activation::gelu_tanh ? "gelu_new" : activation},
          {"n_layer", o.layers},
          {"n_embd", o.hidden},
          {"n_head", o.heads},
          {"n_inner", o.intermediate},
          {"n_positions", o.context},
          {"n_ctx", o.context},
          {"vocab_size", o.vocabulary},
          {"layer_norm_epsilon", o.norm_epsilon},
          {"tie_word_embeddings", o.tie_embeddings},
          {"scale_attn_weights", true},
          {"attn_pdrop", 0.0},
          {"embd_pdrop", 0.0},
          {"resid_pdrop", 0.0},
          {"initializer_range", 0.02},
          {"use_cache", true}};
}

std::string gpt2_name(const std::string& parameter) {
  static constexpr std::array<NamePair, 4> kWhole = {{
      {"embedding", "transformer.wte.weight"},
      {"positions", "transformer.wpe.weight"},
      {"head", "lm_head.weight"},
      {"norm.", "transformer.ln_f."},
  }};
  static constexpr std::array<NamePair, 8> kParts = {{
      {"attention_norm.", "ln_1."},
      {"mlp_norm.", "ln_2."},
      {"attention.query.", "attn.c_attn."},
      {"attention.key.", "attn.c_attn."},
      {"attention.value.", "attn.c_attn."},
      {"attention.output.", "attn.c_proj."},
      {"mlp.up.", "mlp.c_fc."},
      {"mlp.down.", "mlp.c_proj."},
  }};
  return NameMap{kWhole, "transformer.h.", kParts}.stored(parameter);
}

Placement gpt2_placement(const std::string& parameter, const TransformerOptions& o) {
  const auto holds = [&](const char* part) { return parameter.find(part) != std::string::npos; };
  const bool linear = holds(".attention.") || holds(".mlp.");
  Placement place = {.transposed = linear && parameter.ends_with(".weight")};
  const std::array<const char*, 3> fused = {".attention.query.", ".attention.key.",
                                            ".attention.value."};
  for (size_t i = 0; i < fused.size(); ++i) {
    if (!holds(fused[i])) continue;
    place.begin = static_cast<int64_t>(i) * o.hidden;
    place.width = 3 * o.hidden;
  }
  return place;
}

}  // namespace

Family gpt2_family() {
  return {.name = "gpt2",
          .architecture = "GPT2LMHeadModel",
          .read_config = read_gpt2,
          .write_config = write_gpt2,
          .checkpoint_name = gpt2_name,
          .placement = gpt2_placement,
          .specialise = make_gpt2};
}

}  // namespace continuo
