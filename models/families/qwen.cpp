// Qwen 2 and 2.5: Llama with biases on queries, keys and values, and windows on the upper layers
// (arXiv 2407.10671). Qwen 3: without the biases, with RMSNorm of queries and keys per head (arXiv
// 2505.09388).
#include <nlohmann/json.hpp>

#include "models/families/families.h"
#include "models/families/llama.h"

namespace continuo {

using nlohmann::json;

namespace {

TransformerOptions read_qwen(ConfigReader& c, const LlamaDefaults& defaults) {
  TransformerOptions o = read_llama_shape(c, defaults);
  const bool sliding = c.flag("use_sliding_window", false);
  const int64_t window = c.size("sliding_window", 4096);
  const int64_t first = c.count("max_window_layers", 28);
  std::vector<bool> upper(o.layers);
  for (int64_t i = 0; i < o.layers; ++i) upper[i] = i >= first;
  const std::vector<bool> windowed = read_layer_types(c, o.layers, upper);
  if (sliding) set_windows(o, window, windowed);
  read_rope(c, {}, o);
  return o;
}

json write_qwen(const TransformerOptions& o, const char* model_type, const char* architecture) {
  json config = write_llama_shape(o, model_type, architecture);
  int64_t first = 0;
  while (first < o.layers && !o.has_window(first)) ++first;
  config["use_sliding_window"] = o.window > 0;
  config["sliding_window"] = o.window ? json(o.window) : json();
  config["max_window_layers"] = first;
  config["layer_types"] = layer_types(o);
  write_rope(config, o);
  return config;
}

TransformerOptions read_qwen2(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  TransformerOptions o = read_qwen(c, {.kv_heads = 32, .context = 32768});
  o.attention_bias = true;
  c.finish();
  return o;
}

json write_qwen2(const TransformerOptions& o) { return write_qwen(o, "qwen2", "Qwen2ForCausalLM"); }

void make_qwen2(TransformerOptions& o) { o.attention_bias = true; }

TransformerOptions read_qwen3(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  TransformerOptions o = read_qwen(c, {.kv_heads = 32, .head_dim = 128, .context = 32768});
  o.attention_bias = o.output_bias = c.flag("attention_bias", false);
  o.qk_norm = QkNorm::head;
  c.finish();
  return o;
}

json write_qwen3(const TransformerOptions& o) {
  json config = write_qwen(o, "qwen3", "Qwen3ForCausalLM");
  config["attention_bias"] = o.attention_bias;
  return config;
}

void make_qwen3(TransformerOptions& o) { o.qk_norm = QkNorm::head; }

}  // namespace

Family qwen2_family() {
  return {.name = "qwen2",
          .architecture = "Qwen2ForCausalLM",
          .read_config = read_qwen2,
          .write_config = write_qwen2,
          .checkpoint_name = llama_checkpoint_name,
          .specialise = make_qwen2};
}

Family qwen3_family() {
  return {.name = "qwen3",
          .architecture = "Qwen3ForCausalLM",
          .read_config = read_qwen3,
          .write_config = write_qwen3,
          .checkpoint_name = llama_checkpoint_name,
          .specialise = make_qwen3};
}

}  // namespace continuo
