// The adapters that a `lora:` section asks for.
#pragma once

#include <filesystem>

#include "models/store/adapter.h"
#include "models/store/lora_config.h"

namespace continuo {

// Fresh ones, or those of config.from; none where the section is not enabled. `base`: the model's
// directory. `targets`: where config.targets is written. Error at `targets`: one that names no
// layer; an adapter of another base.
AdapterSet open_adapters(const LoraConfig& config, const Model& model,
                         const std::filesystem::path& base, const Location& targets);

// What an optimizer trains, by name: the adapters where there are some, else every parameter of the
// model.
NamedTensors trained_parameters(const Model& model, const AdapterSet& adapters);

}  // namespace continuo
