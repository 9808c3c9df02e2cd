// The `model:` section: a shape to start from scratch, or a checkpoint to start from.
#pragma once

#include <string>

#include "core/config/config.h"

namespace continuo {

struct ModelConfig {
  // A checkpoint directory (Hugging Face layout), which then says the shape in place of what
  // follows.
  std::string from;
  std::string family = "llama";
  int64_t layers = 6;
  int64_t hidden = 256;
  int64_t heads = 4;
  int64_t kv_heads = 0;      // 0 = heads
  int64_t head_dim = 0;      // 0 = hidden / heads
  int64_t intermediate = 0;  // 0 = 8/3 · hidden, rounded up to a multiple of 64
  int64_t context = 2048;
  double norm_epsilon = 1e-5;
  double rope_theta = 10000;
  bool tie_embeddings = true;
  int64_t seed = 0;
};
void fields(FieldVisitor& v, ModelConfig& c);
// Contradictions between fields, with the place of each; `key` is where the section stands in
// `root`.
void validate(const ModelConfig& config, const ConfigNode& root, const std::string& key,
              Problems& problems);

}  // namespace continuo
