// The `lora:` section: low-rank adapters to train instead of the model's own weights.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/config/config.h"

namespace continuo {

// PEFT's word for every linear layer of the blocks.
inline constexpr const char* kAllLinear = "all-linear";

// How the frozen weights lie in memory. `automatic`: a GGUF file's quantised matrices as they are,
// others in the products' type.
enum class BaseWeights { automatic, dtype, file, q8, q4 };
std::span<const EnumName> enum_names(BaseWeights);

struct LoraConfig {
  int64_t rank = 0;  // 0 = no adapters: all weights are trained
  double alpha = 0;  // 0 = 2 · rank
  double dropout = 0;
  std::vector<std::string> targets = {kAllLinear};
  bool dora = false;
  bool rslora = false;
  int64_t seed = 0;
  BaseWeights base_weights = BaseWeights::automatic;
  // An adapter directory to go on with; it brings rank, alpha, targets, dora and rslora.
  std::string from;

  bool enabled() const { return rank > 0 || !from.empty(); }
};
void fields(FieldVisitor& v, LoraConfig& c);
// Contradictions between fields, with the place of each; `key` is where the section stands in
// `root`.
void validate(const LoraConfig& config, const ConfigNode& root, const std::string& key,
              Problems& problems);

}  // namespace continuo
