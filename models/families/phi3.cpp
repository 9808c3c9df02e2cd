// Phi 3: Llama whose checkpoints fuse query, key and value, and gate and up; part of a head may
// rotate, and longrope stretches the context (arXiv 2404.14219).
#include <array>

#include <nlohmann/json.hpp>

#include "models/families/families.h"
#include "models/families/llama.h"

namespace continuo {

using nlohmann::json;

namespace {

ModelSpec read_phi3(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  ModelSpec spec = read_llama_shape(c, {.context = 4096, .norm_epsilon = 1e-5});
  c.expect("attention_bias", false);
  if (c.has("sliding_window")) {
    const int64_t window = c.size("sliding_window");
    for (BlockSpec& block : spec.blocks) block.attend().window = window;
  }
  read_rope(c, {}, spec);
  const RopeKind kind = main_rotary(spec).scaling.kind;
  if (kind != RopeKind::plain && kind != RopeKind::longrope) {
    c.fail("rope_scaling", "is neither default nor longrope, the kinds that Phi 3 has");
  }
  c.finish();
  return spec;
}

json write_phi3(const ModelSpec& spec) {
  json config = write_llama_shape(spec, "phi3", "Phi3ForCausalLM");
  const int64_t window = window_of(spec);
  config["sliding_window"] = window ? json(window) : json();
  config["partial_rotary_factor"] = partial_rotary_factor(spec);
  const int64_t original = main_rotary(spec).scaling.original_context;
  config["original_max_position_embeddings"] = original ? original : spec.context;
  config["resid_pdrop"] = 0.0;
  config["embd_pdrop"] = 0.0;
  write_rope(config, spec);
  return config;
}

std::string phi3_name(const std::string& parameter) {
  static constexpr std::array<NamePair, 8> kParts = {{
      {"attention_norm.", "input_layernorm."},
      {"mlp_norm.", "post_attention_layernorm."},
      {"attention.query.", "self_attn.qkv_proj."},
      {"attention.key.", "self_attn.qkv_proj."},
      {"attention.value.", "self_attn.qkv_proj."},
      {"attention.output.", "self_attn.o_proj."},
      {"mlp.gate.", "mlp.gate_up_proj."},
      {"mlp.up.", "mlp.gate_up_proj."},
  }};
  const bool fused =
      parameter.starts_with("blocks_") && parameter.find(".mlp.down.") == std::string::npos;
  return fused ? NameMap{{}, kLlamaNames.blocks, kParts}.stored(parameter)
               : kLlamaNames.stored(parameter);
}

Placement phi3_placement(const std::string& parameter, const ModelSpec& spec) {
  const Attend& a = spec.blocks.front().attend();
  const int64_t queries = a.heads * a.dim, keys = a.kv_heads * a.dim;
  const int64_t width = spec.blocks.front().dense().width;
  const auto holds = [&](const char* part) { return parameter.find(part) != std::string::npos; };
  if (holds(".attention.query.")) return {.begin = 0, .width = queries + 2 * keys};
  if (holds(".attention.key.")) return {.begin = queries, .width = queries + 2 * keys};
  if (holds(".attention.value.")) return {.begin = queries + keys, .width = queries + 2 * keys};
  if (holds(".mlp.gate.")) return {.begin = 0, .width = 2 * width};
  if (holds(".mlp.up.")) return {.begin = width, .width = 2 * width};
  return {};
}

}  // namespace

Family phi3_family() {
  return {.name = "phi3",
          .architecture = "Phi3ForCausalLM",
          .read_config = read_phi3,
          .write_config = write_phi3,
          .checkpoint_name = phi3_name,
          .placement = phi3_placement};
}

}  // namespace continuo
