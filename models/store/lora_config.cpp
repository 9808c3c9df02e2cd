#include "models/store/lora_config.h"

#include <array>

namespace continuo {

std::span<const EnumName> enum_names(BaseWeights) {
  static constexpr std::array kNames = {
      EnumName{"auto", static_cast<int>(BaseWeights::automatic)},
      EnumName{"dtype", static_cast<int>(BaseWeights::dtype)},
      EnumName{"file", static_cast<int>(BaseWeights::file)},
      EnumName{"q8", static_cast<int>(BaseWeights::q8)},
      EnumName{"q4", static_cast<int>(BaseWeights::q4)},
  };
  return kNames;
}

void fields(FieldVisitor& v, LoraConfig& c) {
  v.field("rank", c.rank, "Rank of the adapters (r); 0 = none, all weights are trained.",
          Range::between(0, 65536));
  v.field("alpha", c.alpha, "Adapters are scaled by alpha / rank; 0 = 2 · rank.",
          Range::at_least(0));
  v.field("dropout", c.dropout, "Dropout of the adapters' input while training.",
          Range::between(0, 0.99));
  v.field("targets", c.targets,
          "Layers by their Hugging Face names (q_proj, down_proj, …), or all-linear.");
  v.field("dora", c.dora, "DoRA: also train the length of each weight row.");
  v.field("rslora", c.rslora, "rsLoRA: scale by alpha / √rank.");
  v.field("seed", c.seed, "Seed of the adapters' start and of dropout.");
  v.field("base_weights", c.base_weights,
          "The frozen weights in memory: in train.dtype; as the file holds them (GGUF); in 8 or 4 "
          "bits on the CPU; auto: as a GGUF file holds them, else in train.dtype.");
  v.field(
      "from", c.from,
      "Adapter directory to go on with; rank, alpha, targets, dora and rslora are then its own.");
}

void validate(const LoraConfig& c, const ConfigNode& root, const std::string& key,
              Problems& problems) {
  const auto fault = [&](const std::string& field, const std::string& message,
                         const std::string& hint) {
    problems.add(locate(root, key + "." + field), key + "." + field + ": " + message, hint);
  };
  const ConfigNode* section = find_path(root, key);
  if (!c.enabled()) {
    if (section && !section->fields.empty() && !section->find("rank")) {
      problems.add(locate(root, key), key + ": neither rank nor from is given",
                   "Add for example rank: 16.");
    }
    return;
  }
  if (c.from.empty()) {
    if (c.targets.empty())
      fault("targets", "names no layer", "Use all-linear, or names such as q_proj and v_proj.");
    return;
  }
  const std::string hint = "Leave it out: it comes with lora.from.";
  if (c.rank > 0) fault("rank", "the adapter of lora.from has its own", hint);
  if (c.alpha > 0) fault("alpha", "the adapter of lora.from has its own", hint);
  if (c.dora) fault("dora", "the adapter of lora.from says whether it is one of DoRA", hint);
  if (c.rslora) fault("rslora", "the adapter of lora.from has its own scaling", hint);
  if (c.targets != LoraConfig().targets)
    fault("targets", "the adapter of lora.from has its own", hint);
}

}  // namespace continuo
