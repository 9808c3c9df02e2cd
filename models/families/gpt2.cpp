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

// Leaves the activation as it is.
void make_gpt2(ModelSpec& spec) {
  spec.embedding.positions = spec.context;
  spec.norm.centred = true;
  set_attention_bias(spec, true);
  for (BlockSpec& block : spec.blocks) {
    block.norm.centred = true;
    block.attend().rotary.reset();
    block.dense().gated = false;
    block.dense().biases = true;
  }
}

void make_new_gpt2(ModelSpec& spec) {
  make_gpt2(spec);
  for (BlockSpec& block : spec.blocks) block.dense().activation = Activation::gelu_tanh;
}

ModelSpec read_gpt2(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  ModelSpec spec;
  Attend a;
  Dense mlp;
  const int64_t layers = c.size("n_layer");
  const int64_t hidden = spec.embedding.hidden = c.size("n_embd");
  a.heads = a.kv_heads = c.size("n_head");
  a.dim = std::max<int64_t>(1, hidden / a.heads);
  mlp.width = c.size("n_inner", 4 * hidden);
  spec.embedding.vocabulary = c.size("vocab_size");
  spec.context = c.size("n_positions", 1024);
  spec.norm.epsilon = c.positive("layer_norm_epsilon", 1e-5);
  spec.head.tied = c.flag("tie_word_embeddings", true);
  mlp.activation = read_activation(c, "activation_function", "gelu_new");
  c.expect("scale_attn_weights", true);
  if (hidden % a.heads != 0) {
    throw Error(Location{.file = file.string()},
                fmt::format("n_embd {} is not a multiple of n_head {}", hidden, a.heads));
  }
  c.finish();
  spec.blocks.assign(layers, BlockSpec{.norm = spec.norm, .mixer = a, .mlp = mlp});
  make_gpt2(spec);
  return spec;
}

json write_gpt2(const ModelSpec& spec) {
  const Dense& mlp = spec.blocks.front().dense();
  const std::string activation = activation_name(mlp.activation);
  return {
      {"model_type", "gpt2"},
      {"architectures", {"GPT2LMHeadModel"}},
      {"activation_function", mlp.activation == Activation::gelu_tanh ? "gelu_new" : activation},
      {"n_layer", spec.layers()},
      {"n_embd", spec.embedding.hidden},
      {"n_head", spec.blocks.front().attend().heads},
      {"n_inner", mlp.width},
      {"n_positions", spec.context},
      {"n_ctx", spec.context},
      {"vocab_size", spec.embedding.vocabulary},
      {"layer_norm_epsilon", spec.norm.epsilon},
      {"tie_word_embeddings", spec.head.tied},
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

Placement gpt2_placement(const std::string& parameter, const ModelSpec& spec) {
  const auto holds = [&](const char* part) { return parameter.find(part) != std::string::npos; };
  const bool linear = holds(".attention.") || holds(".mlp.");
  Placement place = {.transposed = linear && parameter.ends_with(".weight")};
  const std::array<const char*, 3> fused = {".attention.query.", ".attention.key.",
                                            ".attention.value."};
  for (size_t i = 0; i < fused.size(); ++i) {
    if (!holds(fused[i])) continue;
    place.begin = static_cast<int64_t>(i) * spec.embedding.hidden;
    place.width = 3 * spec.embedding.hidden;
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
          .specialise = make_new_gpt2};
}

}  // namespace continuo
