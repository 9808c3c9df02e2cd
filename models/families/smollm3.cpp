// SmolLM 3: Llama whose every fourth layer does not rotate (NoPE, arXiv 2305.19466).
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/families/families.h"
#include "models/families/llama.h"

namespace continuo {

using nlohmann::json;

namespace {

constexpr double kTheta = 2000000;

// Every `interval`-th layer does not rotate.
std::vector<bool> unrotated_every(int64_t layers, int64_t interval) {
  std::vector<bool> unrotated(layers);
  for (int64_t i = 0; i < layers; ++i) unrotated[i] = (i + 1) % interval == 0;
  return unrotated;
}

void drop_rotation(ModelSpec& spec, const std::vector<bool>& unrotated) {
  for (size_t i = 0; i < spec.blocks.size(); ++i) {
    if (unrotated[i]) spec.blocks[i].attend().rotary.reset();
  }
}

ModelSpec read_smollm3(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  ModelSpec spec = read_llama_shape(c, {.kv_heads = 4, .context = 32768, .tie_embeddings = true});
  const int64_t layers = spec.layers();
  set_attention_bias(spec, c.flag("attention_bias", false));
  const bool mlp_bias = c.flag("mlp_bias", false);
  for (BlockSpec& block : spec.blocks) block.dense().biases = mlp_bias;
  // The list holds 1 where a layer rotates.
  std::vector<bool> unrotated = unrotated_every(layers, c.size("no_rope_layer_interval", 4));
  if (c.has("no_rope_layers")) {
    const std::vector<double> rotated = c.numbers("no_rope_layers");
    if (static_cast<int64_t>(rotated.size()) != layers) {
      c.fail("no_rope_layers", fmt::format("has {} entries for {} layers", rotated.size(), layers));
    }
    for (int64_t i = 0; i < layers; ++i) unrotated[i] = rotated[i] == 0;
  }
  const bool sliding = c.flag("use_sliding_window", false) && c.has("sliding_window");
  const std::vector<bool> windowed =
      read_layer_types(c, layers, sliding ? unrotated : std::vector<bool>(layers, false));
  const int64_t window = c.size("sliding_window", 1);
  if (sliding) {
    set_windows(spec, window, windowed);
  } else if (std::find(windowed.begin(), windowed.end(), true) != windowed.end()) {
    c.fail("layer_types", "has sliding_attention, but use_sliding_window or sliding_window is off");
  }
  read_rope(c, {.default_theta = kTheta}, spec);
  drop_rotation(spec, unrotated);
  c.finish();
  return spec;
}

json write_smollm3(const ModelSpec& spec) {
  json config = write_llama_shape(spec, "smollm3", "SmolLM3ForCausalLM");
  json rotated = json::array();
  for (const BlockSpec& block : spec.blocks) rotated.push_back(block.attend().rotary ? 1 : 0);
  config["no_rope_layers"] = rotated;
  config["attention_bias"] = spec.blocks.front().attend().biases;
  config["mlp_bias"] = spec.blocks.front().dense().biases;
  const int64_t window = window_of(spec);
  config["use_sliding_window"] = window > 0;
  config["sliding_window"] = window ? json(window) : json();
  config["layer_types"] = layer_types(spec);
  write_rope(config, spec);
  return config;
}

void make_smollm3(ModelSpec& spec) { drop_rotation(spec, unrotated_every(spec.layers(), 4)); }

}  // namespace

Family smollm3_family() {
  return {.name = "smollm3",
          .architecture = "SmolLM3ForCausalLM",
          .read_config = read_smollm3,
          .write_config = write_smollm3,
          .checkpoint_name = llama_checkpoint_name,
          .specialise = make_smollm3};
}

}  // namespace continuo
