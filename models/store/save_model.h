// Writes a model as a Hugging Face directory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "models/store/model.h"
#include "nn/named_parameters.h"

namespace continuo {

// Ids that config.json and generation_config.json carry for other tools.
struct SpecialIds {
  std::optional<int64_t> bos, pad;
  std::vector<int64_t> eos;
};

// Gives `take` all parameters of a model by name, those of a part of it (nn/decoder.h) together;
// they need be in memory no longer than the call.
using HandOver = std::function<void(const std::function<void(const NamedParameters&)>& take)>;

// Writes config.json, generation_config.json and model.safetensors into a directory that is being
// filled, with the weights that are handed over, by default the model's own, which must be in
// memory.
void save_model(const Model& model, const std::filesystem::path& directory, const SpecialIds& ids,
                const HandOver& weights = {});

}  // namespace continuo
