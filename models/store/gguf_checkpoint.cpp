#include "models/store/gguf_checkpoint.h"

#include "models/store/gguf_config.h"

namespace continuo {

using nlohmann::json;

namespace {

int64_t head_count(const json& config, bool keys) {
  if (keys && config.contains("num_key_value_heads") && !config["num_key_value_heads"].is_null()) {
    return config["num_key_value_heads"];
  }
  return config.at(config.contains("n_head") ? "n_head" : "num_attention_heads");
}

// Swaps two factors of the rows: [a·b·c, …] read as (a, b, c, …) → (a, c, b, …), or the way back
// when the sizes come swapped.
at::Tensor swap_rows(const at::Tensor& x, int64_t a, int64_t b, const std::string& name) {
  if (a < 1 || x.size(0) % (a * b) != 0) {
    throw Error(fmt::format("tensor '{}' has {} rows, which do not divide by {} heads", name,
                            x.size(0), a));
  }
  std::vector<int64_t> shape = {a, b, x.size(0) / (a * b)};
  if (x.dim() > 1) shape.push_back(x.size(1));
  return x.reshape(shape).transpose(1, 2).reshape(x.sizes());
}

at::Tensor swap_leading(const at::Tensor& x, int64_t a, int64_t b) {
  std::vector<int64_t> shape = {a, b, x.size(0) / (a * b)};
  if (x.dim() > 1) shape.push_back(x.size(1));
  return x.reshape(shape).transpose(0, 1).reshape(x.sizes());
}

at::Tensor convert_layout(const at::Tensor& x, GgufLayout layout, const json& config,
                          const std::string& name, bool to_gguf) {
  switch (layout) {
    case GgufLayout::kSame:
      return x;
    case GgufLayout::kInterleavedQuery:
    case GgufLayout::kInterleavedKey: {
      const int64_t heads = head_count(config, layout == GgufLayout::kInterleavedKey);
      const int64_t half = x.size(0) / heads / 2;
      return swap_rows(x, heads, to_gguf ? 2 : std::max<int64_t>(half, 1), name);
    }
    case GgufLayout::kTransposed:
      return x.dim() == 2 ? x.t().contiguous() : x;
    case GgufLayout::kPlusOne:
      return to_gguf ? x.to(at::kFloat) + 1 : x.to(at::kFloat) - 1;
    case GgufLayout::kQkvMajor: {
      const int64_t heads = head_count(config, false);
      return to_gguf ? swap_leading(x, heads, 3) : swap_leading(x, 3, heads);
    }
  }
  return x;
}

GgmlType type_of(const std::string& name, const at::Tensor& tensor, GgmlType asked, bool& other) {
  if (tensor.dim() < 2 || name == "position_embd.weight") return GgmlType::kF32;
  GgmlType type = asked;
  const bool four_bits = asked == GgmlType::kQ4_0 || asked == GgmlType::kQ4_K;
  if (four_bits && (name == "token_embd.weight" || name == "output.weight")) type = GgmlType::kQ8_0;
  for (const GgmlType next : {GgmlType::kQ8_0, GgmlType::kF16}) {
    if (tensor.size(-1) % ggml_format(type).block_size == 0) break;
    type = next;
    other = true;
  }
  return type;
}

// llama.cpp's number for what most of the file is (enum llama_ftype).
uint32_t file_type(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return 0;
    case GgmlType::kF16:
      return 1;
    case GgmlType::kQ4_0:
      return 2;
    case GgmlType::kQ8_0:
      return 7;
    case GgmlType::kQ4_K:
      return 14;
    case GgmlType::kBF16:
      return 32;
    default:
      fail("files of type {} cannot be written", ggml_format(type).name);
  }
}

}  // namespace

GgufCheckpoint read_gguf_checkpoint(const GgufFile& file) {
  const GgufArchitecture& a = gguf_architecture(file);
  GgufCheckpoint result{gguf_config(file, a), {}};
  for (const auto& [name, info] : file.tensors()) {
    if (name == "rope_freqs.weight") continue;  // in config.json
    const auto match = hf_tensor_name(a, name);
    if (!match) {
      throw Error(Location{.file = file.path().string()},
                  fmt::format("tensor '{}' is not one of architecture '{}'", name, a.name));
    }
    const bool plain =
        info.type == GgmlType::kF32 || info.type == GgmlType::kF16 || info.type == GgmlType::kBF16;
    const at::Tensor stored = plain ? file.tensor(name) : file.dequantise(name);
    result.tensors[match->name] =
        convert_layout(stored, match->row->layout, result.config, name, false);
  }
  return result;
}

GgufContent gguf_content(const json& config, const std::map<std::string, at::Tensor>& tensors,
                         GgmlType type) {
  const std::string model_type = config.value("model_type", "");
  const GgufArchitecture* a = gguf_architecture_of(model_type);
  if (!a)
    throw Error(fmt::format("models of the family '{}' have no counterpart in GGUF", model_type));
  GgufContent content{gguf_metadata(config, *a), {}, {}};
  content.metadata.emplace_back("general.file_type", file_type(type));
  const bool blocks = ggml_format(type).block_size > 1;
  if (blocks) content.metadata.emplace_back("general.quantization_version", uint32_t{2});
  if (const at::Tensor factors = gguf_rope_factors(config); factors.defined()) {
    content.tensors.push_back({"rope_freqs.weight", factors, GgmlType::kF32});
  }
  const bool tied = config.value("tie_word_embeddings", false);
  for (const auto& [name, tensor] : tensors) {
    if (name.ends_with("rotary_emb.inv_freq") || (tied && name == "lm_head.weight")) continue;
    const auto match = gguf_tensor_name(*a, name);
    if (!match) fail("tensor '{}' has no name in GGUF's architecture '{}'", name, a->name);
    bool other = false;
    const GgmlType stored = type_of(match->name, tensor, type, other);
    if (other) content.other_types.push_back(match->name);
    content.tensors.push_back(
        {match->name, convert_layout(tensor, match->row->layout, config, name, true), stored});
  }
  return content;
}

}  // namespace continuo
