// A model in a GGUF file ↔ the same model in Hugging Face's terms: config.json and named tensors.
#pragma once

#include <map>
#include <string>
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

struct GgufContent {
  GgufMetadata metadata;  // of the model; the tokenizer's keys are the caller's to add
  std::vector<GgufTensor> tensors;
  // Matrices that got another type because their rows are no whole blocks of the one asked for.
  std::vector<std::string> other_types;
};
// `type`: of the matrices; one of gguf_matrix_types(). Vectors stay F32. With fewer than 8 bits the
// embedding and the head get 8, as they lose most. `blocks`: those of matrices that have them
// already, in that type, by their names in model.safetensors, [out, bytes of a row]. Error: a
// family or setting without counterpart.
GgufContent gguf_content(const nlohmann::json& config,
                         const std::map<std::string, at::Tensor>& tensors, GgmlType type,
                         const std::map<std::string, at::Tensor>& blocks = {});

// The types that most of a file may have, by the names that llama.cpp gives them.
std::vector<std::string> gguf_matrix_types();

}  // namespace continuo
