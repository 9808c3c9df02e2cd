// Qwen 2 and 2.5: Llama with biases on queries, keys and values, and windows on the upper layers
// (arXiv 2407.10671). Qwen 3: without the biases, with RMSNorm of queries and keys per head (arXiv
// 2505.09388).
#include <nlohmann/json.hpp>

#include "models/families/families.h"
#include "models/families/llama.h"

namespace continuo {

using nlohmann::json;

namespace {

ModelSpec read_qwen(ConfigReader& c, const LlamaDefaults& defaults) {
  ModelSpec spec = read_llama_shape(c, defaults);
  const bool sliding = c.flag("use_sliding_window", false);
  const int64_t window = c.size("sliding_window", 4096);
  const int64_t first = c.count("max_window_layers", 28);
  std::vector<bool> upper(spec.layers());
  for (int64_t i = 0; i < spec.layers(); ++i) upper[i] = i >= first;
  const std::vector<bool> windowed = read_layer_types(c, spec.layers(), upper);
  if (sliding) set_windows(spec, window, windowed);
  read_rope(c, {}, spec);
  return spec;
}

json write_qwen(const ModelSpec& spec, const char* model_type, const char* architecture) {
  json config = write_llama_shape(spec, model_type, architecture);
  const int64_t window = window_of(spec);
  int64_t first = 0;
  while (first < spec.layers() && spec.blocks[first].attend().window == 0) ++first;
  config["use_sliding_window"] = window > 0;
  config["sliding_window"] = window ? json(window) : json();
  config["max_window_layers"] = first;
  config["layer_types"] = layer_types(spec);
  write_rope(config, spec);
  return config;
}

void make_qwen2(ModelSpec& spec) {
  for (BlockSpec& block : spec.blocks) block.attend().biases = true;
}

ModelSpec read_qwen2(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  ModelSpec spec = read_qwen(c, {.kv_heads = 32, .context = 32768});
  make_qwen2(spec);
  c.finish();
  return spec;
}

json write_qwen2(const ModelSpec& spec) { return write_qwen(spec, "qwen2", "Qwen2ForCausalLM"); }

void make_qwen3(ModelSpec& spec) {
  for (BlockSpec& block : spec.blocks) block.attend().qk_norm = QkNorm::head;
}

ModelSpec read_qwen3(const json& config, const std::filesystem::path& file) {
  ConfigReader c(config, file);
  ModelSpec spec = read_qwen(c, {.kv_heads = 32, .head_dim = 128, .context = 32768});
  set_attention_bias(spec, c.flag("attention_bias", false));
  make_qwen3(spec);
  c.finish();
  return spec;
}

json write_qwen3(const ModelSpec& spec) {
  json config = write_qwen(spec, "qwen3", "Qwen3ForCausalLM");
  config["attention_bias"] = spec.blocks.front().attend().biases;
  return config;
}

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
