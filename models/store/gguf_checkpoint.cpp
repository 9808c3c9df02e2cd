#include "models/store/gguf_checkpoint.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <ATen/TensorOperators.h>

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

// How many heads' rows a layout mixes.
int64_t heads_of(GgufLayout layout, const json& config) {
  switch (layout) {
    case GgufLayout::kInterleavedKey:
      return head_count(config, true);
    case GgufLayout::kInterleavedQuery:
    case GgufLayout::kQkvMajor:
      return head_count(config, false);
    default:
      return 0;
  }
}

at::Tensor convert_layout(const at::Tensor& x, GgufLayout layout, int64_t heads,
                          const std::string& name, bool to_gguf) {
  switch (layout) {
    case GgufLayout::kSame:
      return x;
    case GgufLayout::kInterleavedQuery:
    case GgufLayout::kInterleavedKey: {
      const int64_t half = x.size(0) / heads / 2;
      return swap_rows(x, heads, to_gguf ? 2 : std::max<int64_t>(half, 1), name);
    }
    case GgufLayout::kTransposed:
      return x.dim() == 2 ? x.t().contiguous() : x;
    case GgufLayout::kPlusOne:
      return to_gguf ? x.to(at::kFloat) + 1 : x.to(at::kFloat) - 1;
    case GgufLayout::kQkvMajor:
      return to_gguf ? swap_leading(x, heads, 3) : swap_leading(x, 3, heads);
  }
  return x;
}

// A tensor of the file in the layout of model.safetensors.
StoredTensor converted(const GgufFile& file, const std::string& name, GgufLayout layout,
                       const json& config) {
  StoredTensor stored = file.stored(name);
  if (layout == GgufLayout::kSame || stored.shape.empty()) return stored;
  const int64_t size = stored.shape.at(0), heads = heads_of(layout, config);
  stored.whole = [=, whole = stored.whole] {
    return convert_layout(whole(), layout, heads, name, false);
  };
  const bool interleaved =
      layout == GgufLayout::kInterleavedQuery || layout == GgufLayout::kInterleavedKey;
  if (interleaved && heads > 0 && size % (2 * heads) == 0) {
    // Rows change places within their head only.
    const int64_t dim = size / heads;
    const auto by_heads = [=](const StoredTensor::Rows& rows) -> StoredTensor::Rows {
      return [=](int64_t begin, int64_t end) {
        const int64_t first = begin / dim, last = (end + dim - 1) / dim;
        const at::Tensor whole_heads = rows(first * dim, last * dim);
        return convert_layout(whole_heads, layout, last - first, name, false)
            .narrow(0, begin - first * dim, end - begin);
      };
    };
    stored.rows = by_heads(stored.rows);
    if (stored.blocks) stored.blocks->rows = by_heads(stored.blocks->rows);
    return stored;
  }
  stored.blocks.reset();
  if (layout == GgufLayout::kTransposed && stored.shape.size() == 2)
    std::swap(stored.shape[0], stored.shape[1]);
  stored.rows = rows_of_whole(
      [=, rows = stored.rows] { return convert_layout(rows(0, size), layout, heads, name, false); },
      stored.shape[0]);
  return stored;
}

GgmlType type_of(const std::string& name, const at::Tensor& tensor, GgmlType asked, bool& other) {
  if (tensor.dim() < 2 || name == "position_embd.weight") return GgmlType::kF32;
  GgmlType type = asked;
  const GgmlFormat& format = ggml_format(asked);
  const bool under_eight_bits = format.block_bytes < format.block_size;
  if (under_eight_bits && (name == "token_embd.weight" || name == "output.weight"))
    type = GgmlType::kQ8_0;
  for (const GgmlType next : {GgmlType::kQ8_0, GgmlType::kF16}) {
    if (tensor.size(-1) % ggml_format(type).block_size == 0) break;
    type = next;
    other = true;
  }
  return type;
}

// llama.cpp's number for what most of a file is (enum llama_ftype).
struct FileType {
  GgmlType type;
  uint32_t number;
};
constexpr std::array kFileTypes{
    FileType{GgmlType::kF32, 0},   FileType{GgmlType::kF16, 1},  FileType{GgmlType::kBF16, 32},
    FileType{GgmlType::kQ8_0, 7},  FileType{GgmlType::kQ5_1, 9}, FileType{GgmlType::kQ5_0, 8},
    FileType{GgmlType::kQ4_K, 14}, FileType{GgmlType::kQ4_1, 3}, FileType{GgmlType::kQ4_0, 2},
};

uint32_t file_type(GgmlType type) {
  const auto row = std::ranges::find(kFileTypes, type, &FileType::type);
  if (row == kFileTypes.end()) fail("files of type {} cannot be written", ggml_format(type).name);
  return row->number;
}

constexpr std::string_view kMixedName = "q4_1_m";

const GgufArchitecture& written_architecture(const json& config) {
  const std::string model_type = config.value("model_type", "");
  const GgufArchitecture* a = gguf_architecture_of(model_type);
  if (!a)
    throw Error(fmt::format("models of the family '{}' have no counterpart in GGUF", model_type));
  return *a;
}

GgufTensorMatch name_in_file(const GgufArchitecture& a, const std::string& name) {
  const auto match = gguf_tensor_name(a, name);
  if (!match) fail("tensor '{}' has no name in GGUF's architecture '{}'", name, a.name);
  return *match;
}

// Blocks that were made of a matrix whose inputs lie in rows, wherever the checkpoint has them.
at::Tensor convert_blocks(const at::Tensor& blocks, GgufLayout layout, int64_t heads,
                          const std::string& name) {
  return layout == GgufLayout::kTransposed ? blocks
                                           : convert_layout(blocks, layout, heads, name, true);
}

}  // namespace

GgufCheckpoint read_gguf_checkpoint(const GgufFile& file) {
  const GgufArchitecture& a = gguf_architecture(file);
  GgufCheckpoint result{gguf_config(file, a), {}};
  for (const auto& entry : file.tensors()) {
    const std::string& name = entry.first;
    if (name == "rope_freqs.weight") continue;  // in config.json
    const auto match = hf_tensor_name(a, name);
    if (!match) {
      throw Error(Location{.file = file.path().string()},
                  fmt::format("tensor '{}' is not one of architecture '{}'", name, a.name));
    }
    result.tensors[match->name] = converted(file, name, match->row->layout, result.config);
  }
  return result;
}

GgmlType GgufTypes::of(std::string_view tensor) const {
  const auto has = [&](std::string_view part) { return tensor.find(part) != tensor.npos; };
  const bool router = has(".ffn_gate_inp.");
  return !router && (has(".ffn_gate") || has(".ffn_up")) ? mlp_in : others;
}

GgmlType gguf_matrix_type(const json& config, const std::string& name, const GgufTypes& types) {
  return types.of(name_in_file(written_architecture(config), name).name);
}

GgufContent gguf_content(const json& config, const std::map<std::string, at::Tensor>& tensors,
                         const GgufTypes& types, const std::map<std::string, at::Tensor>& blocks) {
  const GgufArchitecture& a = written_architecture(config);
  GgufContent content{gguf_metadata(config, a), {}, {}};
  content.metadata.emplace_back("general.file_type", file_type(types.mlp_in));
  if (ggml_format(types.mlp_in).block_size > 1)
    content.metadata.emplace_back("general.quantization_version", uint32_t{2});
  if (const at::Tensor factors = gguf_rope_factors(config); factors.defined()) {
    content.tensors.push_back({"rope_freqs.weight", factors, GgmlType::kF32});
  }
  const bool tied = config.value("tie_word_embeddings", false);
  for (const auto& [name, tensor] : tensors) {
    if (name.ends_with("rotary_emb.inv_freq") || (tied && name == "lm_head.weight")) continue;
    const auto match = name_in_file(a, name);
    const GgufLayout layout = match.row->layout;
    const int64_t heads = heads_of(layout, config);
    const at::Tensor converted = convert_layout(tensor, layout, heads, name, true);
    bool other = false;
    content.tensors.push_back(
        {match.name, converted, type_of(match.name, converted, types.of(match.name), other)});
    if (other) content.other_types.push_back(match.name);
    if (const auto made = blocks.find(name); made != blocks.end())
      content.tensors.back().blocks = convert_blocks(made->second, layout, heads, name);
  }
  return content;
}

std::optional<GgufTypes> gguf_types(std::string_view name) {
  if (name == kMixedName) return GgufTypes(GgmlType::kQ4_1, GgmlType::kQ5_1);
  const GgmlFormat* format = find_ggml_format(name);
  const bool written =
      format && std::ranges::find(kFileTypes, format->type, &FileType::type) != kFileTypes.end();
  return written ? std::optional<GgufTypes>(format->type) : std::nullopt;
}

std::vector<std::string> gguf_type_names() {
  std::vector<std::string> names;
  for (const FileType& row : kFileTypes) {
    std::string name(ggml_format(row.type).name);
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    names.push_back(std::move(name));
  }
  names.emplace_back(kMixedName);
  return names;
}

}  // namespace continuo
