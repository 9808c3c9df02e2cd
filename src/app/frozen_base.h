// The model below adapters: frozen, and in memory once, in the form that `lora.base_weights` says.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "app/compute_config.h"
#include "models/store/lora_config.h"
#include "models/store/model.h"
#include "nn/executor.h"

namespace continuo {

struct FrozenBase {
  Model model;
  // Holds the weights where training reads them as they are served, and outlives that; else there
  // is none.
  std::shared_ptr<Executor> holder;
  std::string form;  // to which they are rounded: "q8", "q4"; empty where they are not
};

// Where no executor holds the weights they are `otherwise`. Error: a form that the model's files or
// the device do not have.
FrozenBase load_frozen_base(const std::filesystem::path& directory, const LoraConfig& config,
                            const Compute& compute, Held otherwise = Held::memory);

}  // namespace continuo
