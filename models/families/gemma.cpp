// Gemma 2 (arXiv 2408.00118): norms before and after the sublayers whose weights are stored less
// one, a scaled embedding, tanh-GELU, soft caps on scores and logits, windows on every other layer.
// Gemma 3's text model (arXiv 2503.19786): RMSNorm of queries and keys instead of the caps, five
// windowed layers to one that is not, with a rotary base of their own.
#include <array>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/families/families.h"
#include "models/families/llama.h"

namespace continuo {

using nlohmann::json;

namespace {

constexpr double kLocalTheta = 10000;

void make_gemma(TransformerOptions& o) {
  o.norm_plus_one = o.post_norm = true;
  o.activation = Activation::gelu_tanh;
  o.embedding_scale = std::sqrt(static_cast<double>(o.hidden));
}

// Every layer has the window but each `interval`-th.
std::vector<bool> all_but_every(int64_t layers, int64_t interval) {
  std::vector<bool> windowed(layers);
  for (int64_t i = 0; i < layers; ++i) windowed[i] = (i + 1) % interval != 0;
  return windowed;
}

TransformerOptions read_gemma(ConfigReader& c, int64_t context, int64_t interval) {
  TransformerOptions o = read_llama_shape(c, {.kv_heads = 4,
                                              .head_dim = 256,
                                              .context = context,
                                              .tie_embeddings = true,
                                              .activation_key = "hidden_activation",
                                              .activation = "gelu_pytorch_tanh"});
  const Activation activation = o.activation;
  make_gemma(o);
  o.activation = activation;
  c.ignore("hidden_act");  // beside hidden_activation it has no effect
  o.attention_bias = o.output_bias = c.flag("attention_bias", false);
  o.attention_scale = 1 / std::sqrt(c.positive("query_pre_attn_scalar", 256));
  const std::vector<bool> windowed =
      read_layer_types(c, o.layers, all_but_every(o.layers, interval));
  set_windows(o, c.size("sliding_window", 4096), windowed);
  return o;
}

json write_gemma(const TransformerOptions& o, const char* model_type, const char* architecture) {
  json config = write_llama_shape(o, model_type, architecture);
  config["hidden_activation"] = config["hidden_act"];
  config["attention_bias"] = o.attention_bias;
  // The square is exact where the scalar was a whole number.
  double scalar = 1 / (o.attention_scale * o.attention_scale);
  if (1 / std::sqrt(std::round(scalar)) == o.attention_scale) scalar = std::round(scalar);
  config["query_pre_attn_scalar"] =
      scalar == std::round(scalar) ? json(static_cast<int64_t>(scalar)) : json(scalar);
  config["sliding_window"] = o.window ? o.window : 4096;
  config["layer_types"] = layer_types(o);
  const auto cap = [](double c) { return c > 0 ? json(c) : json(); };
  config["attn_logit_softcapping"] = cap(o.attention_softcap);
  config["final_logit_softcapping"] = cap(o.logit_softcap);
  return config;
}

double read_cap(ConfigReader& c, const json& config, const char* key, double absent) {
  return c.has(key) ? c.positive(key, absent) : config.contains(key) ? 0 : absent;
}

TransformerOptions read_gemma2(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  TransformerOptions o = read_gemma(c, 8192, 2);
  o.attention_softcap = read_cap(c, config, "attn_logit_softcapping", 50);
  o.logit_softcap = read_cap(c, config, "final_logit_softcapping", 30);
  read_rope(c, {}, o);
  c.finish();
  return o;
}

json write_gemma2(const TransformerOptions& o) {
  json config = write_gemma(o, "gemma2", "Gemma2ForCausalLM");
  write_rope(config, o);
  return config;
}

void make_gemma2(TransformerOptions& o) {
  make_gemma(o);
  o.attention_scale = 1 / std::sqrt(static_cast<double>(o.head_dim));
  o.attention_softcap = 50;
  o.logit_softcap = 30;
  set_windows(o, 4096, all_but_every(o.layers, 2));
}

// Transformers 5 nests one object per kind of layer in rope_parameters; before, rope_theta and
// rope_scaling were those of the layers without a window and rope_local_base_freq the base of the
// others.
void read_gemma3_rope(ConfigReader& c, TransformerOptions& o) {
  double partial = 1, local_partial = 1, local = c.positive("rope_local_base_freq", kLocalTheta);
  o.rope_theta = c.positive("rope_theta", 1000000);
  if (c.has("rope_parameters")) {
    ConfigReader both = c.object("rope_parameters");
    if (both.has("sliding_attention")) {
      read_rope_object(both.object("sliding_attention"), o, local, local_partial, 0);
      if (o.rope_scaling.kind != RopeKind::plain || local_partial != 1) {
        both.fail("sliding_attention", "must be the default rotation of whole heads");
      }
    }
    if (both.has("full_attention"))
      read_rope_object(both.object("full_attention"), o, o.rope_theta, partial, 0);
    both.finish();
  }
  if (c.has("rope_scaling"))
    read_rope_object(c.object("rope_scaling"), o, o.rope_theta, partial, 0);
  set_rotary_dim(c, "rope_parameters", partial, o);
  if (o.rotary_dim) c.fail("rope_parameters", "rotates part of a head, which Gemma 3 does not");
  o.local_rope_theta = o.window ? local : 0;
}

TransformerOptions read_gemma3(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  const int64_t interval = c.size("sliding_window_pattern", c.size("_sliding_window_pattern", 6));
  c.ignore("_sliding_window_pattern");
  TransformerOptions o = read_gemma(c, 131072, interval);
  o.qk_norm = QkNorm::head;
  if (c.has("attn_logit_softcapping"))
    c.fail("attn_logit_softcapping", "is not supported in Gemma 3");
  o.logit_softcap = read_cap(c, config, "final_logit_softcapping", 0);
  read_gemma3_rope(c, o);
  c.finish();
  return o;
}

json write_gemma3(const TransformerOptions& o) {
  json config = write_gemma(o, "gemma3_text", "Gemma3ForCausalLM");
  const double local = o.local_rope_theta > 0 ? o.local_rope_theta : kLocalTheta;
  write_rope(config, o);
  config["rope_local_base_freq"] = local;
  config["rope_parameters"] = {
      {"full_attention", rope_object(o)},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", local}}}};
  return config;
}

void make_gemma3(TransformerOptions& o) {
  make_gemma(o);
  o.attention_scale = 1 / std::sqrt(static_cast<double>(o.head_dim));
  o.qk_norm = QkNorm::head;
  set_windows(o, 512, all_but_every(o.layers, 6));
  o.local_rope_theta = kLocalTheta;
}

std::string gemma_name(const std::string& parameter) {
  static constexpr std::array<NamePair, 3> kNorms = {{
      {"attention_post_norm.", "post_attention_layernorm."},
      {"mlp_norm.", "pre_feedforward_layernorm."},
      {"mlp_post_norm.", "post_feedforward_layernorm."},
  }};
  const bool own = parameter.find(".mlp_norm.") != std::string::npos ||
                   parameter.find("_post_norm.") != std::string::npos;
  return own ? NameMap{{}, kLlamaNames.blocks, kNorms}.stored(parameter)
             : kLlamaNames.stored(parameter);
}

}  // namespace

Family gemma2_family() {
  return {.name = "gemma2",
          .architecture = "Gemma2ForCausalLM",
          .read_config = read_gemma2,
          .write_config = write_gemma2,
          .checkpoint_name = gemma_name,
          .specialise = make_gemma2};
}

Family gemma3_family() {
  return {.name = "gemma3_text",
          .architecture = "Gemma3ForCausalLM",
          .read_config = read_gemma3,
          .write_config = write_gemma3,
          .checkpoint_name = gemma_name,
          .specialise = make_gemma3};
}

}  // namespace continuo
