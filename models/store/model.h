// A model with its family: made from scratch, or read from a Hugging Face directory or a GGUF file.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "models/families/model_config.h"
#include "models/families/registry.h"
#include "nn/transformer.h"

namespace continuo {

struct Model {
  const Family* family = nullptr;
  std::shared_ptr<Transformer> decoder;
};

// A model of this shape, its matrices unset (nn/unset_parameter.h).
Model outline_model(const ModelConfig& config, int64_t vocabulary);

// Where a loaded model's matrices are.
enum class Held {
  nowhere,  // names and shapes are checked, the matrices stay unset
  stored,   // in their files, from which executors read them a matrix at a time
  mapped,   // over the files' mappings where these allow it: a fast start, pages read on demand
  memory,   // in memory of their own, for training
};

struct LoadOptions {
  at::Device device = at::kCPU;
  // Of matrices in memory; norms stay float32. Training wants float32 masters.
  at::ScalarType dtype = at::kFloat;
  Held held = Held::mapped;
};

// Random weights, a function of config.seed. Stored ones are drawn when they are read.
Model make_model(const ModelConfig& config, int64_t vocabulary, at::Device device,
                 Held held = Held::memory);

// A model in one GGUF file.
bool is_gguf_file(const std::filesystem::path& path);
// One with a matrix in quantised blocks.
bool is_quantised_file(const std::filesystem::path& path);

// Reads a directory's config.json and weights (safetensors or pytorch_model.bin, whole or in
// shards), or a GGUF file, whose quantised matrices are decoded. Error naming file and key or
// tensor: unknown architecture, missing, surplus or misshapen tensors.
Model load_model(const std::filesystem::path& directory, const LoadOptions& options = {});

// The end-of-sequence ids that a directory's generation_config.json or config.json names, and which
// of them does; empty when none does.
struct NamedEosIds {
  std::vector<int64_t> ids;
  std::filesystem::path file;
};
NamedEosIds read_eos_ids(const std::filesystem::path& directory);

int64_t count_parameters(const torch::nn::Module& module);

}  // namespace continuo
