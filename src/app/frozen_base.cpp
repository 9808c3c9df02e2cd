#include "app/frozen_base.h"

#include <optional>

#include "core/error.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

// In which the frozen weights are held by an executor, if they are.
std::optional<WeightFormat> held_format(const LoraConfig& c, const fs::path& base,
                                        at::Device device) {
  switch (c.base_weights) {
    case BaseWeights::dtype:
      return std::nullopt;
    case BaseWeights::q8:
      return WeightFormat::q8;
    case BaseWeights::q4:
      return WeightFormat::q4;
    case BaseWeights::file:
      if (is_gguf_file(base)) return WeightFormat::blocks;
      throw Error("lora.base_weights: file is for GGUF files, and " + base.string() + " is none",
                  "Leave it at auto, or use q8 or q4.");
    case BaseWeights::automatic:
      break;
  }
  // Elsewhere no executor keeps blocks as they are.
  if (device.is_cpu() && is_quantised_file(base)) return WeightFormat::blocks;
  return std::nullopt;
}

}  // namespace

FrozenBase load_frozen_base(const fs::path& directory, const LoraConfig& config,
                            const Compute& compute, Held otherwise) {
  const std::optional<WeightFormat> held = held_format(config, directory, compute.device);
  // Frozen weights need no float32 masters: in memory they are what the products want.
  FrozenBase base = {.model = load_model(directory, {.device = compute.device,
                                                     .dtype = compute.dtype,
                                                     .held = held ? Held::stored : otherwise}),
                     .holder = {},
                     .form = {}};
  if (!held) return base;
  base.holder = make_executor(base.model.decoder, {.weights = *held});
  read_from(*base.holder, *base.model.decoder);
  if (is_quantised(*held)) base.form = name(*held);
  return base;
}

}  // namespace continuo
