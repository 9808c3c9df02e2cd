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

void set_unrotated(TransformerOptions& o, std::vector<bool> unrotated) {
  const bool any = std::find(unrotated.begin(), unrotated.end(), true) != unrotated.end();
  o.unrotated = any ? std::move(unrotated) : std::vector<bool>{};
}

TransformerOptions read_smollm3(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  TransformerOptions o =
      read_llama_shape(c, {.kv_heads = 4, .context = 32768, .tie_embeddings = true});
  o.attention_bias = o.output_bias = c.flag("attention_bias", false);
  o.mlp_bias = c.flag("mlp_bias", false);
  // The list holds 1 where a layer rotates.
  std::vector<bool> unrotated = unrotated_every(o.layers, c.size("no_rope_layer_interval", 4));
  if (c.has("no_rope_layers")) {
    const std::vector<double> rotated = c.numbers("no_rope_layers");
    if (static_cast<int64_t>(rotated.size()) != o.layers) {
      c.fail("no_rope_layers",
             fmt::format("has {} entries for {} layers", rotated.size(), o.layers));
    }
    for (int64_t i = 0; i < o.layers; ++i) unrotated[i] = rotated[i] == 0;
  }
  const bool sliding = c.flag("use_sliding_window", false) && c.has("sliding_window");
  const std::vector<bool> windowed =
      read_layer_types(c, o.layers, sliding ? unrotated : std::vector<bool>(o.layers, false));
  const int64_t window = c.size("sliding_window", 1);
  if (sliding) {
    set_windows(o, window, windowed);
  } else if (std::find(windowed.begin(), windowed.end(), true) != windowed.end()) {
    c.fail("layer_types", "has sliding_attention, but use_sliding_window or sliding_window is off");
  }
  set_unrotated(o, std::move(unrotated));
  read_rope(c, {.default_theta = kTheta}, o);
  c.finish();
  return o;
}

json write_smollm3(const TransformerOptions& o) {
  json config = write_llama_shape(o, "smollm3", "SmolLM3ForCausalLM");
  json rotated = json::array();
  for (int64_t i = 0; i < o.layers; ++i) rotated.push_back(o.rotates(i) ? 1 : 0);
  config["no_rope_layers"] = rotated;
  config["attention_bias"] = o.attention_bias;
  config["mlp_bias"] = o.mlp_bias;
  config["use_sliding_window"] = o.window > 0;
  config["sliding_window"] = o.window ? json(o.window) : json();
  config["layer_types"] = layer_types(o);
  write_rope(config, o);
  return config;
}

void make_smollm3(TransformerOptions& o) { set_unrotated(o, unrotated_every(o.layers, 4)); }

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
