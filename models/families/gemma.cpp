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

void make_gemma(ModelSpec& spec) {
  spec.embedding.scale = std::sqrt(static_cast<double>(spec.embedding.hidden));
  spec.norm.plus_one = true;
  for (BlockSpec& block : spec.blocks) {
    block.norm.plus_one = true;
    block.placement = NormPlacement::around;
  }
}

// Every layer has the window but each `interval`-th.
std::vector<bool> all_but_every(int64_t layers, int64_t interval) {
  std::vector<bool> windowed(layers);
  for (int64_t i = 0; i < layers; ++i) windowed[i] = (i + 1) % interval != 0;
  return windowed;
}

ModelSpec read_gemma(ConfigReader& c, int64_t context, int64_t interval) {
  ModelSpec spec = read_llama_shape(c, {.kv_heads = 4,
                                        .head_dim = 256,
                                        .context = context,
                                        .tie_embeddings = true,
                                        .activation_key = "hidden_activation",
                                        .activation = "gelu_pytorch_tanh"});
  make_gemma(spec);
  c.ignore("hidden_act");  // beside hidden_activation it has no effect
  set_attention_bias(spec, c.flag("attention_bias", false));
  const double scale = 1 / std::sqrt(c.positive("query_pre_attn_scalar", 256));
  for (BlockSpec& block : spec.blocks) block.attend().scale = scale;
  const std::vector<bool> windowed =
      read_layer_types(c, spec.layers(), all_but_every(spec.layers(), interval));
  set_windows(spec, c.size("sliding_window", 4096), windowed);
  return spec;
}

json write_gemma(const ModelSpec& spec, const char* model_type, const char* architecture) {
  json config = write_llama_shape(spec, model_type, architecture);
  const Attend& a = spec.blocks.front().attend();
  config["hidden_activation"] = config["hidden_act"];
  config["attention_bias"] = a.biases;
  // The square is exact where the scalar was a whole number.
  double scalar = 1 / (a.scale * a.scale);
  if (1 / std::sqrt(std::round(scalar)) == a.scale) scalar = std::round(scalar);
  config["query_pre_attn_scalar"] =
      scalar == std::round(scalar) ? json(static_cast<int64_t>(scalar)) : json(scalar);
  const int64_t window = window_of(spec);
  config["sliding_window"] = window ? window : 4096;
  config["layer_types"] = layer_types(spec);
  const auto cap = [](double c) { return c > 0 ? json(c) : json(); };
  config["attn_logit_softcapping"] = cap(a.softcap);
  config["final_logit_softcapping"] = cap(spec.head.softcap);
  return config;
}

// A new model, whose window holds in every layer but each `interval`-th.
void make_new_gemma(ModelSpec& spec, int64_t window, int64_t interval) {
  make_gemma(spec);
  set_windows(spec, window, all_but_every(spec.layers(), interval));
  for (BlockSpec& block : spec.blocks) {
    block.attend().scale = block.attend().score_scale();  // config.json always names one
    block.dense().activation = Activation::gelu_tanh;
  }
}

double read_cap(ConfigReader& c, const json& config, const char* key, double absent) {
  return c.has(key) ? c.positive(key, absent) : config.contains(key) ? 0 : absent;
}

void set_caps(ModelSpec& spec, double scores, double logits) {
  for (BlockSpec& block : spec.blocks) block.attend().softcap = scores;
  spec.head.softcap = logits;
}

ModelSpec read_gemma2(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  ModelSpec spec = read_gemma(c, 8192, 2);
  const double scores = read_cap(c, config, "attn_logit_softcapping", 50);
  set_caps(spec, scores, read_cap(c, config, "final_logit_softcapping", 30));
  read_rope(c, {}, spec);
  c.finish();
  return spec;
}

json write_gemma2(const ModelSpec& spec) {
  json config = write_gemma(spec, "gemma2", "Gemma2ForCausalLM");
  write_rope(config, spec);
  return config;
}

void make_gemma2(ModelSpec& spec) {
  make_new_gemma(spec, 4096, 2);
  set_caps(spec, 50, 30);
}

// Transformers 5 nests one object per kind of layer in rope_parameters; before, rope_theta and
// rope_scaling were those of the layers without a window and rope_local_base_freq the base of the
// others.
void read_gemma3_rope(ConfigReader& c, ModelSpec& spec) {
  const int64_t dim = spec.blocks.front().attend().dim;
  double partial = 1, local_partial = 1;
  Rotary local = {.dim = dim, .theta = c.positive("rope_local_base_freq", kLocalTheta)};
  Rotary global = {.dim = dim, .theta = c.positive("rope_theta", 1000000)};
  if (c.has("rope_parameters")) {
    ConfigReader both = c.object("rope_parameters");
    if (both.has("sliding_attention")) {
      read_rope_object(both.object("sliding_attention"), spec, local, local_partial, 0);
      if (local.scaling.kind != RopeKind::plain || local_partial != 1) {
        both.fail("sliding_attention", "must be the default rotation of whole heads");
      }
    }
    if (both.has("full_attention"))
      read_rope_object(both.object("full_attention"), spec, global, partial, 0);
    both.finish();
  }
  if (c.has("rope_scaling")) read_rope_object(c.object("rope_scaling"), spec, global, partial, 0);
  set_rotary_dim(c, "rope_parameters", partial, spec, global);
  if (global.dim != dim)
    c.fail("rope_parameters", "rotates part of a head, which Gemma 3 does not");
  for (BlockSpec& block : spec.blocks) {
    Attend& a = block.attend();
    a.rotary = a.window > 0 ? local : global;
  }
}

ModelSpec read_gemma3(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  const int64_t interval = c.size("sliding_window_pattern", c.size("_sliding_window_pattern", 6));
  c.ignore("_sliding_window_pattern");
  ModelSpec spec = read_gemma(c, 131072, interval);
  for (BlockSpec& block : spec.blocks) block.attend().qk_norm = QkNorm::head;
  if (c.has("attn_logit_softcapping"))
    c.fail("attn_logit_softcapping", "is not supported in Gemma 3");
  spec.head.softcap = read_cap(c, config, "final_logit_softcapping", 0);
  read_gemma3_rope(c, spec);
  c.finish();
  return spec;
}

json write_gemma3(const ModelSpec& spec) {
  json config = write_gemma(spec, "gemma3_text", "Gemma3ForCausalLM");
  double local = kLocalTheta;
  for (const BlockSpec& block : spec.blocks) {
    if (block.attend().window > 0) local = block.attend().rotary->theta;
  }
  write_rope(config, spec);
  config["rope_local_base_freq"] = local;
  config["rope_parameters"] = {
      {"full_attention", rope_object(spec)},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", local}}}};
  return config;
}

void make_gemma3(ModelSpec& spec) {
  make_new_gemma(spec, 512, 6);
  for (BlockSpec& block : spec.blocks) {
    Attend& a = block.attend();
    a.qk_norm = QkNorm::head;
    if (a.window > 0) a.rotary = Rotary{.dim = a.dim, .theta = kLocalTheta};
  }
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
