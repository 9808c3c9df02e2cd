// Mistral: Llama with a sliding window over every layer (arXiv 2310.06825).
#include <nlohmann/json.hpp>

#include "models/families/families.h"
#include "models/families/llama.h"

namespace continuo {

using nlohmann::json;

namespace {

ModelSpec read_mistral(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  ModelSpec spec = read_llama_shape(c, {.kv_heads = 8, .context = 131072});
  // An absent key is 4096, null is no window.
  const int64_t window = c.has("sliding_window")             ? c.size("sliding_window")
                         : config.contains("sliding_window") ? 0
                                                             : 4096;
  for (BlockSpec& block : spec.blocks) block.attend().window = window;
  read_rope(c, {}, spec);
  c.finish();
  return spec;
}

json write_mistral(const ModelSpec& spec) {
  json config = write_llama_shape(spec, "mistral", "MistralForCausalLM");
  const int64_t window = window_of(spec);
  config["sliding_window"] = window ? json(window) : json();
  write_rope(config, spec);
  return config;
}

}  // namespace

Family mistral_family() {
  return {.name = "mistral",
          .architecture = "MistralForCausalLM",
          .read_config = read_mistral,
          .write_config = write_mistral,
          .checkpoint_name = llama_checkpoint_name};
}

}  // namespace continuo
