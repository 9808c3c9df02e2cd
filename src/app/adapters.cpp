#include "app/adapters.h"

#include "app/model_directory.h"

namespace continuo {

AdapterSet open_adapters(const LoraConfig& config, const Model& model,
                         const std::filesystem::path& base, const Location& targets) {
  if (!config.enabled()) return {};
  const auto seed = static_cast<uint64_t>(config.seed);
  if (!config.from.empty()) {
    return load_adapters(model, resolve_model_directory(base), resolve_model_directory(config.from),
                         config.dropout, seed);
  }
  const double alpha = config.alpha > 0 ? config.alpha : 2 * static_cast<double>(config.rank);
  const LoraOptions options = {.rank = config.rank,
                               .alpha = alpha,
                               .dropout = config.dropout,
                               .rslora = config.rslora,
                               .dora = config.dora};
  return attach_adapters(model, options, config.targets, seed, targets);
}

NamedTensors trained_parameters(const Model& model, const AdapterSet& adapters) {
  if (!adapters.empty()) return adapter_parameters(adapters);
  NamedTensors parameters;
  for (const auto& item : model.decoder->named_parameters())
    parameters.emplace_back(item.key(), item.value());
  return parameters;
}

}  // namespace continuo
