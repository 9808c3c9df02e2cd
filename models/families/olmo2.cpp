// OLMo 2: Llama whose norms stand after the sublayers, with RMSNorm of the whole query and key
// projections (arXiv 2501.00656).
#include <array>

#include <nlohmann/json.hpp>

#include "models/families/families.h"
#include "models/families/llama.h"

namespace continuo {

using nlohmann::json;

namespace {

void make_olmo2(ModelSpec& spec) {
  for (BlockSpec& block : spec.blocks) {
    block.placement = NormPlacement::after;
    block.attend().qk_norm = QkNorm::whole;
  }
}

ModelSpec read_olmo2(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  ModelSpec spec = read_llama_shape(c, {.norm_epsilon = 1e-5});
  make_olmo2(spec);
  set_attention_bias(spec, c.flag("attention_bias", false));
  read_rope(c, {}, spec);
  c.finish();
  return spec;
}

json write_olmo2(const ModelSpec& spec) {
  json config = write_llama_shape(spec, "olmo2", "Olmo2ForCausalLM");
  config["attention_bias"] = spec.blocks.front().attend().biases;
  write_rope(config, spec);
  return config;
}

std::string olmo2_name(const std::string& parameter) {
  static constexpr std::array<NamePair, 2> kNorms = {{
      {"attention_post_norm.", "post_attention_layernorm."},
      {"mlp_post_norm.", "post_feedforward_layernorm."},
  }};
  if (parameter.find("_post_norm.") != std::string::npos) {
    return NameMap{{}, kLlamaNames.blocks, kNorms}.stored(parameter);
  }
  return kLlamaNames.stored(parameter);
}

}  // namespace

Family olmo2_family() {
  return {.name = "olmo2",
          .architecture = "Olmo2ForCausalLM",
          .read_config = read_olmo2,
          .write_config = write_olmo2,
          .checkpoint_name = olmo2_name,
          .specialise = make_olmo2};
}

}  // namespace continuo
