#include "models/store/gguf_config.h"

#include <cmath>
#include <numbers>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>

namespace continuo {

using nlohmann::json;

namespace {

[[noreturn]] void key_error(const GgufFile& file, const std::string& key, const std::string& what) {
  throw Error(Location{.file = file.path().string()}, fmt::format("{} {}", key, what));
}

[[noreturn]] void cannot_write(const std::string& what) {
  throw Error("config.json: " + what, "GGUF has no place for it; this model cannot be converted.");
}

// The rotary settings of config.json in one form, whatever spelling: transformers 5 keeps them in
// rope_parameters (Gemma 3: one per kind of layer), older files in rope_theta and rope_scaling,
// GPT-NeoX in rotary_emb_base and rotary_pct.
json rope_settings(const json& config) {
  json rope = json::object();
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto found = config.find(key);
    if (found == config.end() || !found->is_object()) continue;
    rope.update(found->contains("full_attention") ? (*found)["full_attention"] : *found);
  }
  const auto take = [&](const char* key, const char* other_spelling) {
    if (!rope.contains(key) && config.contains(other_spelling)) rope[key] = config[other_spelling];
  };
  take("rope_theta", "rope_theta");
  take("rope_theta", "rotary_emb_base");
  take("partial_rotary_factor", "rotary_pct");
  if (!rope.contains("rope_type")) rope["rope_type"] = rope.value("type", "default");
  return rope;
}

int64_t head_dimension(const json& config) {
  const auto found = config.find("head_dim");
  if (found != config.end() && found->is_number_integer()) return *found;
  const bool gpt2 = config.contains("n_embd");
  return config.at(gpt2 ? "n_embd" : "hidden_size").get<int64_t>() /
         config.at(gpt2 ? "n_head" : "num_attention_heads").get<int64_t>();
}

// transformers' _compute_llama3_parameters, as factors by which the frequencies are divided.
at::Tensor llama3_factors(const json& rope, int64_t dim) {
  const double factor = rope.at("factor"), low = rope.at("low_freq_factor");
  const double high = rope.at("high_freq_factor"), theta = rope.at("rope_theta");
  const double original = rope.at("original_max_position_embeddings");
  at::Tensor factors = at::empty({dim / 2});
  for (int64_t i = 0; i < dim / 2; ++i) {
    const double frequency =
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
    const double wavelength = 2 * std::numbers::pi / frequency;
    double divisor = 1;
    if (wavelength > original / low) {
      divisor = factor;
    } else if (wavelength >= original / high) {
      const double smooth = (original / wavelength - low) / (high - low);
      divisor = 1 / ((1 - smooth) / factor + smooth);
    }
    factors.data_ptr<float>()[i] = static_cast<float>(divisor);
  }
  return factors;
}

// GGUF keeps the factors, config.json the rule behind them. The rule's other numbers are the same
// in every Llama 3; the factor is the largest divisor.
json llama3_rope(const GgufFile& file, double theta, int64_t dim) {
  const std::string name = "rope_freqs.weight";
  const at::Tensor given = file.dequantise(name);
  json rope = {{"rope_type", "llama3"},
               {"rope_theta", theta},
               {"factor", given.max().item<double>()},
               {"low_freq_factor", 1.0},
               {"high_freq_factor", 4.0},
               {"original_max_position_embeddings", 8192}};
  const bool same = given.dim() == 1 && given.size(0) == dim / 2 &&
                    (given - llama3_factors(rope, dim)).abs().max().item<double>() < 1e-3;
  if (!same) key_error(file, name, "holds frequency factors other than those of Llama 3");
  return rope;
}

json read_rope(const GgufFile& file, const std::string& prefix, int64_t dim) {
  const double theta = file.number(prefix + "rope.freq_base").value_or(10000.0);
  if (file.tensors().contains("rope_freqs.weight")) return llama3_rope(file, theta, dim);
  if (file.tensors().contains("rope_factors_long.weight")) {
    key_error(file, "rope_factors_long.weight", "is not supported");
  }
  const std::string_view type = file.text(prefix + "rope.scaling.type").value_or("none");
  json rope = {{"rope_type", "default"}, {"rope_theta", theta}};
  if (type == "none" || type.empty()) return rope;
  if (type != "linear" && type != "yarn") {
    key_error(file, prefix + "rope.scaling.type",
              fmt::format("is '{}', which is not supported", type));
  }
  const auto factor = file.number(prefix + "rope.scaling.factor");
  if (!factor) key_error(file, prefix + "rope.scaling.factor", "is missing");
  rope["rope_type"] = type;
  rope["factor"] = *factor;
  if (type == "yarn") {
    const auto original = file.integer(prefix + "rope.scaling.original_context_length");
    if (original) rope["original_max_position_embeddings"] = *original;
  }
  return rope;
}

void write_rope(const json& config, const std::string& prefix, GgufMetadata& out) {
  const json rope = rope_settings(config);
  const std::string type = rope.at("rope_type");
  if (rope.contains("rope_theta")) {
    out.emplace_back(prefix + "rope.freq_base", rope["rope_theta"].get<float>());
  }
  if (type == "default" || type == "llama3") return;
  if (type != "linear" && type != "yarn") cannot_write("rope_type is '" + type + "'");
  for (const char* key :
       {"attention_factor", "mscale", "mscale_all_dim", "beta_fast", "beta_slow", "truncate"}) {
    if (rope.contains(key) && !rope[key].is_null())
      cannot_write(fmt::format("rope's '{}' is set", key));
  }
  out.emplace_back(prefix + "rope.scaling.type", type);
  out.emplace_back(prefix + "rope.scaling.factor", rope.at("factor").get<float>());
  if (rope.contains("original_max_position_embeddings")) {
    out.emplace_back(prefix + "rope.scaling.original_context_length",
                     rope["original_max_position_embeddings"].get<uint32_t>());
  }
}

}  // namespace

const GgufArchitecture& gguf_architecture(const GgufFile& file) {
  const auto name = file.text("general.architecture");
  if (!name) key_error(file, "general.architecture", "is missing");
  const GgufArchitecture* found = find_gguf_architecture(*name);
  if (found) return *found;
  std::string known;
  for (const GgufArchitecture& a : gguf_architectures()) {
    known += (known.empty() ? "" : ", ") + std::string(a.name);
  }
  throw Error(Location{.file = file.path().string()},
              fmt::format("general.architecture is '{}', which is not supported", *name),
              "Supported: " + known + ".");
}

json gguf_config(const GgufFile& file, const GgufArchitecture& a) {
  const std::string prefix = std::string(a.name) + ".";
  json config = json::parse(a.implied);
  config["model_type"] = a.model_type;
  config["architectures"] = {a.architecture};
  for (const GgufKeyRow& row : a.keys) {
    const std::string key = prefix + std::string(row.gguf);
    const std::string hf(row.hf);
    if (row.real) {
      // Stored as float32: the shortest decimal that gives the same float is what was meant.
      if (const auto value = file.number(key))
        config[hf] = std::stod(fmt::format("{}", static_cast<float>(*value)));
    } else if (const auto value = file.integer(key)) {
      config[hf] = *value;
    }
    if (row.needed && !config.contains(hf)) key_error(file, key, "is missing");
  }
  const auto embedding = file.tensors().find("token_embd.weight");
  if (embedding == file.tensors().end()) key_error(file, "token_embd.weight", "is missing");
  config["vocab_size"] = embedding->second.shape.front();
  config["tie_word_embeddings"] = !file.tensors().contains("output.weight");
  if (a.model_type == "llama" || a.model_type == "smollm3") {
    config["attention_bias"] = file.tensors().contains("blk.0.attn_output.bias");
    config["mlp_bias"] = file.tensors().contains("blk.0.ffn_down.bias");
  }
  if (a.model_type == "gpt2") return config;
  if (a.model_type == "gpt_neox") {
    const double dims =
        static_cast<double>(file.integer(prefix + "rope.dimension_count").value_or(0));
    config["rotary_pct"] = dims / static_cast<double>(head_dimension(config));
    config["use_parallel_residual"] = file.flag(prefix + "use_parallel_residual").value_or(true);
    config["rotary_emb_base"] = file.number(prefix + "rope.freq_base").value_or(10000.0);
    return config;
  }
  const int64_t dim = head_dimension(config);
  const json rope = read_rope(file, prefix, dim);
  if (a.model_type.starts_with("gemma")) config["query_pre_attn_scalar"] = dim;
  if (a.model_type == "gemma3_text") {
    config["rope_local_base_freq"] = 10000.0;
    config["rope_theta"] = rope["rope_theta"];
    if (rope["rope_type"] != "default") config["rope_scaling"] = rope;
  } else {
    config["rope_theta"] = rope["rope_theta"];
    config["rope_parameters"] = rope;
  }
  return config;
}

GgufMetadata gguf_metadata(const json& config, const GgufArchitecture& a) {
  const json implied = json::parse(a.implied);
  for (const auto& [key, value] : implied.items()) {
    const auto found = config.find(key);
    if (found != config.end() && !found->is_null() && *found != value) {
      cannot_write(fmt::format("'{}' is {}, llama.cpp's '{}' means {}", key, found->dump(), a.name,
                               value.dump()));
    }
  }
  const std::string prefix = std::string(a.name) + ".";
  GgufMetadata out;
  out.emplace_back("general.architecture", std::string(a.name));
  out.emplace_back("general.type", std::string("model"));
  for (const GgufKeyRow& row : a.keys) {
    auto found = config.find(row.hf);
    const std::string key = prefix + std::string(row.gguf);
    if (found == config.end() || found->is_null()) {
      if (row.hf == "n_inner") {
        out.emplace_back(key, static_cast<uint32_t>(4 * config.at("n_embd").get<int64_t>()));
      } else if (row.needed) {
        cannot_write(fmt::format("key '{}' is missing", row.hf));
      }
    } else if (row.real) {
      out.emplace_back(key, found->get<float>());
    } else {
      out.emplace_back(key, found->get<uint32_t>());
    }
    if (row.hf == "head_dim" && found != config.end() && !found->is_null()) {
      out.emplace_back(prefix + "attention.value_length", found->get<uint32_t>());
    }
  }
  out.emplace_back(prefix + "vocab_size", config.at("vocab_size").get<uint32_t>());
  if (a.model_type == "gpt2") return out;
  double rotated = static_cast<double>(head_dimension(config));
  if (a.model_type == "gpt_neox") {
    rotated *= rope_settings(config).value("partial_rotary_factor", 0.25);
    out.emplace_back(prefix + "use_parallel_residual", config.value("use_parallel_residual", true));
  }
  out.emplace_back(prefix + "rope.dimension_count", static_cast<uint32_t>(rotated));
  if (a.model_type.starts_with("gemma") &&
      config.value("query_pre_attn_scalar", json(head_dimension(config))) !=
          head_dimension(config)) {
    cannot_write("'query_pre_attn_scalar' is not head_dim");
  }
  write_rope(config, prefix, out);
  return out;
}

at::Tensor gguf_rope_factors(const json& config) {
  const json rope = rope_settings(config);
  if (rope.at("rope_type") != "llama3") return {};
  return llama3_factors(rope, head_dimension(config));
}

}  // namespace continuo
