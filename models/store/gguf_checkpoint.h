// A model in a GGUF file ↔ the same model in Hugging Face's terms: config.json and named tensors.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "io/stored_tensor.h"

namespace continuo {

struct GgufCheckpoint {
  nlohmann::json config;
  StoredTensors tensors;  // by their names in model.safetensors
};
// F32, F16 and BF16 stay what they are, over the file's mapping where their layout is the same;
// others are decoded to float32 when they are read. Error naming file and key or tensor.
GgufCheckpoint read_gguf_checkpoint(const GgufFile& file);

// The types of a file's matrices: of those that MLPs read with (gate and up), which are half of a
// model and whose rounding costs least, and of the others.
struct GgufTypes {
  GgmlType mlp_in, others;

  GgufTypes(GgmlType type) : mlp_in(type), others(type) {}
  GgufTypes(GgmlType of_mlp_in, GgmlType of_others) : mlp_in(of_mlp_in), others(of_others) {}
  // By its name in the file; rows that are no whole blocks change it.
  GgmlType of(std::string_view tensor) const;
};
// By a name that people give: that of one type as llama.cpp spells it, or q4_1_m, Q4_1 with Q5_1
// for the others. Nothing for other names.
std::optional<GgufTypes> gguf_types(std::string_view name);
std::vector<std::string> gguf_type_names();

// The type of a matrix, by its name in model.safetensors. Error: it has none in such files.
GgmlType gguf_matrix_type(const nlohmann::json& config, const std::string& name,
                          const GgufTypes& types);

struct GgufContent {
  GgufMetadata metadata;  // of the model; the tokenizer's keys are the caller's to add
  std::vector<GgufTensor> tensors;
  // Matrices that got another type because their rows are no whole blocks of the one asked for.
  std::vector<std::string> other_types;
};
// Vectors stay F32. With fewer than 8 bits the embedding and the head get 8, as they lose most.
// `blocks`: those of matrices that have them already, in their types, by their names in
// model.safetensors, [out, bytes of a row]. Error: a family or setting without counterpart.
GgufContent gguf_content(const nlohmann::json& config,
                         const std::map<std::string, at::Tensor>& tensors, const GgufTypes& types,
                         const std::map<std::string, at::Tensor>& blocks = {});

}  // namespace continuo
