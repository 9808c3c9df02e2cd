#include "models/families/llama.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/families/families.h"

namespace continuo {

using nlohmann::json;

namespace {

struct ActivationName {
  std::string_view name;
  Activation activation;
};
// The first name of an activation is the one that is written.
constexpr std::array<ActivationName, 8> kActivations = {
    {{"silu", Activation::silu},
     {"swish", Activation::silu},
     {"gelu", Activation::gelu},
     {"gelu_pytorch_tanh", Activation::gelu_tanh},
     {"gelu_new", Activation::gelu_tanh},
     {"gelu_fast", Activation::gelu_tanh},
     {"gelu_python", Activation::gelu},
     {"relu", Activation::relu}}};

constexpr std::array<NamePair, 3> kLlamaWhole = {{
    {"embedding", "model.embed_tokens.weight"},
    {"head", "lm_head.weight"},
    {"norm.", "model.norm."},
}};
constexpr std::array<NamePair, 11> kLlamaParts = {{
    {"attention_norm.", "input_layernorm."},
    {"mlp_norm.", "post_attention_layernorm."},
    {"attention.query.", "self_attn.q_proj."},
    {"attention.key.", "self_attn.k_proj."},
    {"attention.value.", "self_attn.v_proj."},
    {"attention.output.", "self_attn.o_proj."},
    {"attention.query_norm.", "self_attn.q_norm."},
    {"attention.key_norm.", "self_attn.k_norm."},
    {"mlp.gate.", "mlp.gate_proj."},
    {"mlp.up.", "mlp.up_proj."},
    {"mlp.down.", "mlp.down_proj."},
}};

}  // namespace

const NameMap kLlamaNames = {kLlamaWhole, "model.layers.", kLlamaParts};

Activation read_activation(ConfigReader& config, const char* key, const char* fallback) {
  const std::string name = config.text(key, fallback);
  for (const ActivationName& known : kActivations) {
    if (known.name == name) return known.activation;
  }
  config.fail(
      key, "is '" + name +
               "', which is not supported; known: silu, gelu, gelu_new, gelu_pytorch_tanh, relu");
}

const char* activation_name(Activation activation) {
  for (const ActivationName& known : kActivations) {
    if (known.activation == activation) return known.name.data();
  }
  return "";
}

ModelSpec read_llama_shape(ConfigReader& c, const LlamaDefaults& d) {
  ModelSpec spec;
  Attend a;
  Dense mlp;
  const int64_t layers = c.size("num_hidden_layers");
  const int64_t hidden = spec.embedding.hidden = c.size("hidden_size");
  a.heads = c.size("num_attention_heads");
  a.kv_heads = c.size("num_key_value_heads", d.kv_heads ? d.kv_heads : a.heads);
  a.dim = c.size("head_dim", d.head_dim ? d.head_dim : std::max<int64_t>(1, hidden / a.heads));
  mlp.width = c.size("intermediate_size");
  spec.embedding.vocabulary = c.size("vocab_size");
  spec.context = c.size("max_position_embeddings", d.context);
  spec.norm.epsilon = c.positive("rms_norm_eps", d.norm_epsilon);
  spec.head.tied = c.flag("tie_word_embeddings", d.tie_embeddings);
  mlp.activation = read_activation(c, d.activation_key, d.activation);
  c.expect("pretraining_tp", 1);
  if (a.heads % a.kv_heads != 0 || a.dim % 2 != 0) {
    throw Error(
        Location{.file = c.file().string()},
        fmt::format(
            "num_attention_heads {}, num_key_value_heads {} and head_dim {} do not fit together",
            a.heads, a.kv_heads, a.dim));
  }
  spec.blocks.assign(layers, BlockSpec{.norm = spec.norm, .mixer = a, .mlp = mlp});
  return spec;
}

json write_llama_shape(const ModelSpec& spec, const char* model_type, const char* architecture) {
  const BlockSpec& block = spec.blocks.front();
  const Attend& a = block.attend();
  return {{"model_type", model_type},
          {"architectures", {architecture}},
          {"hidden_act", activation_name(block.dense().activation)},
          {"num_hidden_layers", spec.layers()},
          {"hidden_size", spec.embedding.hidden},
          {"num_attention_heads", a.heads},
          {"num_key_value_heads", a.kv_heads},
          {"head_dim", a.dim},
          {"intermediate_size", block.dense().width},
          {"vocab_size", spec.embedding.vocabulary},
          {"max_position_embeddings", spec.context},
          {"rms_norm_eps", spec.norm.epsilon},
          {"tie_word_embeddings", spec.head.tied},
          {"attention_dropout", 0.0},
          {"initializer_range", 0.02},
          {"use_cache", true}};
}

void set_attention_bias(ModelSpec& spec, bool biases) {
  for (BlockSpec& block : spec.blocks) {
    Attend& a = block.attend();
    a.biases = a.output_bias = biases;
  }
}

std::vector<bool> read_layer_types(ConfigReader& c, int64_t layers, std::vector<bool> fallback) {
  if (!c.has("layer_types")) return fallback;
  std::vector<bool> windowed;
  for (const std::string& type : c.texts("layer_types")) {
    if (type != "full_attention" && type != "sliding_attention") {
      c.fail("layer_types", "holds '" + type + "'; known: full_attention, sliding_attention");
    }
    windowed.push_back(type == "sliding_attention");
  }
  if (static_cast<int64_t>(windowed.size()) != layers) {
    c.fail("layer_types", fmt::format("has {} entries for {} layers", windowed.size(), layers));
  }
  return windowed;
}

void set_windows(ModelSpec& spec, int64_t window, const std::vector<bool>& windowed) {
  for (size_t i = 0; i < spec.blocks.size(); ++i)
    spec.blocks[i].attend().window = windowed[i] ? window : 0;
}

int64_t window_of(const ModelSpec& spec) {
  for (const BlockSpec& block : spec.blocks) {
    if (block.attend().window > 0) return block.attend().window;
  }
  return 0;
}

json layer_types(const ModelSpec& spec) {
  json types = json::array();
  for (const BlockSpec& block : spec.blocks)
    types.push_back(block.attend().window > 0 ? "sliding_attention" : "full_attention");
  return types;
}

ModelSpec read_llama_config(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  ModelSpec spec = read_llama_shape(c, {});
  set_attention_bias(spec, c.flag("attention_bias", false));
  const bool mlp_bias = c.flag("mlp_bias", false);
  for (BlockSpec& block : spec.blocks) block.dense().biases = mlp_bias;
  read_rope(c, {}, spec);
  c.finish();
  return spec;
}

json write_llama_config(const ModelSpec& spec) {
  json config = write_llama_shape(spec, "llama", "LlamaForCausalLM");
  config["attention_bias"] = spec.blocks.front().attend().biases;
  config["mlp_bias"] = spec.blocks.front().dense().biases;
  write_rope(config, spec);
  return config;
}

std::string llama_checkpoint_name(const std::string& parameter) {
  return kLlamaNames.stored(parameter);
}

Family llama_family() {
  return {.name = "llama",
          .architecture = "LlamaForCausalLM",
          .read_config = read_llama_config,
          .write_config = write_llama_config,
          .checkpoint_name = llama_checkpoint_name};
}

}  // namespace continuo
