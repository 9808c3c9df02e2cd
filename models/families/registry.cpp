#include "models/families/registry.h"

#include <array>

#include "models/families/families.h"

namespace continuo {

std::span<const Family> families() {
  static const std::array kFamilies = {
      llama_family(),    mistral_family(), qwen2_family(),  qwen3_family(),
      smollm3_family(),  olmo2_family(),   phi3_family(),   gpt2_family(),
      gpt_neox_family(), gemma2_family(),  gemma3_family(),
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
  for (const Family& family : families())
    names += (names.empty() ? "" : ", ") + std::string(family.name);
  return "Known families: " + names + ".";
}

}  // namespace continuo
