// Mistral: Llama with a sliding window over every layer (arXiv 2310.06825).
#include <nlohmann/json.hpp>

#include "models/families/families.h"
#include "models/families/llama.h"

namespace continuo {

using nlohmann::json;

namespace {

TransformerOptions read_mistral(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  TransformerOptions o = read_llama_shape(c, {.kv_heads = 8, .context = 131072});
  // An absent key is 4096, null is no window.
  o.window = c.has("sliding_window")             ? c.size("sliding_window")
             : config.contains("sliding_window") ? 0
                                                 : 4096;
  read_rope(c, {}, o);
  c.finish();
  return o;
}

json write_mistral(const TransformerOptions& o) {
  json config = write_llama_shape(o, "mistral", "MistralForCausalLM");
  config["sliding_window"] = o.window ? json(o.window) : json();
  write_rope(config, o);
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
