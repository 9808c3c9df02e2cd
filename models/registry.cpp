#include "models/registry.h"

#include <array>

#include <nlohmann/json.hpp>

#include "models/llama.h"

namespace continuo {

std::span<const Family> families() {
  static constexpr std::array kFamilies = {
      Family{"llama", "LlamaForCausalLM", read_llama_config, write_llama_config, llama_checkpoint_name},
  };
  return kFamilies;
}

const Family* find_family(std::string_view name) {
  for (const Family& family : families()) {
    if (family.name == name) return &family;
  }
  return nullptr;
}

std::string known_families() {
  std::string names;
  for (const Family& family : families()) names += (names.empty() ? "" : ", ") + std::string(family.name);
  return "Known families: " + names + ".";
}

}  // namespace continuo
