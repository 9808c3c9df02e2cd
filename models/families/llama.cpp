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

TransformerOptions read_llama_shape(ConfigReader& c, const LlamaDefaults& d) {
  TransformerOptions o;
  o.layers = c.size("num_hidden_layers");
  o.hidden = c.size("hidden_size");
  o.heads = c.size("num_attention_heads");
  o.kv_heads = c.size("num_key_value_heads", d.kv_heads ? d.kv_heads : o.heads);
  o.head_dim =
      c.size("head_dim", d.head_dim ? d.head_dim : std::max<int64_t>(1, o.hidden / o.heads));
  o.intermediate = c.size("intermediate_size");
  o.vocabulary = c.size("vocab_size");
  o.context = c.size("max_position_embeddings", d.context);
  o.norm_epsilon = c.positive("rms_norm_eps", d.norm_epsilon);
  o.tie_embeddings = c.flag("tie_word_embeddings", d.tie_embeddings);
  o.activation = read_activation(c, d.activation_key, d.activation);
  c.expect("pretraining_tp", 1);
  if (o.heads % o.kv_heads != 0 || o.head_dim % 2 != 0) {
    throw Error(
        Location{.file = c.file().string()},
        fmt::format(
            "num_attention_heads {}, num_key_value_heads {} and head_dim {} do not fit together",
            o.heads, o.kv_heads, o.head_dim));
  }
  return o;
}

json write_llama_shape(const TransformerOptions& o, const char* model_type,
                       const char* architecture) {
  return {{"model_type", model_type},
          {"architectures", {architecture}},
          {"hidden_act", activation_name(o.activation)},
          {"num_hidden_layers", o.layers},
          {"hidden_size", o.hidden},
          {"num_attention_heads", o.heads},
          {"num_key_value_heads", o.kv_heads},
          {"head_dim", o.head_dim},
          {"intermediate_size", o.intermediate},
          {"vocab_size", o.vocabulary},
          {"max_position_embeddings", o.context},
          {"rms_norm_eps", o.norm_epsilon},
          {"tie_word_embeddings", o.tie_embeddings},
          {"attention_dropout", 0.0},
          {"initializer_range", 0.02},
          {"use_cache", true}};
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

void set_windows(TransformerOptions& o, int64_t window, std::vector<bool> windowed) {
  const bool any = std::find(windowed.begin(), windowed.end(), true) != windowed.end();
  const bool all = std::find(windowed.begin(), windowed.end(), false) == windowed.end();
  o.window = any ? window : 0;
  o.windowed = all || o.window == 0 ? std::vector<bool>{} : std::move(windowed);
}

json layer_types(const TransformerOptions& o) {
  json types = json::array();
  for (int64_t i = 0; i < o.layers; ++i)
    types.push_back(o.has_window(i) ? "sliding_attention" : "full_attention");
  return types;
}

TransformerOptions read_llama_config(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  TransformerOptions o = read_llama_shape(c, {});
  o.attention_bias = o.output_bias = c.flag("attention_bias", false);
  o.mlp_bias = c.flag("mlp_bias", false);
  read_rope(c, {}, o);
  c.finish();
  return o;
}

json write_llama_config(const TransformerOptions& o) {
  json config = write_llama_shape(o, "llama", "LlamaForCausalLM");
  config["attention_bias"] = o.attention_bias;
  config["mlp_bias"] = o.mlp_bias;
  write_rope(config, o);
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
