// The architectures of GGUF files that have a family here, one row each: which keys of the metadata
// stand for which keys of config.json, and which tensors for which tensors of a Hugging Face
// checkpoint. Names as llama.cpp reads them (gguf-py, constants.py and tensor_mapping.py).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace continuo {

// How the numbers of a tensor stand in the GGUF file.
enum class GgufLayout {
  kSame,
  kInterleavedQuery,  // rows of a head paired for rotation of neighbours: 0, d/2, 1, d/2+1, …
  kInterleavedKey,    // the same with the key/value heads
  kTransposed,        // [in, out] of GPT-2's Conv1D, matrices only
  kPlusOne,           // Gemma's norms: the file holds 1 + weight
  kQkvMajor,          // fused rows (heads, 3, d) stand as (3, heads, d)
};

struct GgufTensorRow {
  std::string_view gguf, hf;  // without ".weight" / ".bias"; "{}" is the layer
  GgufLayout layout = GgufLayout::kSame;
};

struct GgufKeyRow {
  std::string_view gguf;  // after "<architecture>."
  std::string_view hf;    // in config.json
  bool real = false;      // a number instead of an integer
  bool needed = true;
};

struct GgufArchitecture {
  std::string_view name;          // general.architecture
  std::string_view model_type;    // in config.json
  std::string_view architecture;  // in config.json
  std::span<const GgufKeyRow> keys;
  std::span<const GgufTensorRow> tensors;
  // What the architecture means without saying so, as a JSON object; a model that differs in one of
  // them cannot be written.
  std::string_view implied;
};

std::span<const GgufArchitecture> gguf_architectures();
// Null when unknown.
const GgufArchitecture* find_gguf_architecture(std::string_view name);
// By config.json's model_type; Mistral is written as "llama". Null when the family has none.
const GgufArchitecture* gguf_architecture_of(std::string_view model_type);

struct GgufTensorMatch {
  const GgufTensorRow* row = nullptr;
  std::string name;  // the other side's, with layer and suffix
};
// Nothing when the row table has no such tensor.
std::optional<GgufTensorMatch> hf_tensor_name(const GgufArchitecture& a, std::string_view gguf);
std::optional<GgufTensorMatch> gguf_tensor_name(const GgufArchitecture& a, std::string_view hf);

}  // namespace continuo
