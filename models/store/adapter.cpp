#include "models/store/adapter.h"

#include <algorithm>
#include <set>

#include <c10/core/GradMode.h>
#include <fmt/ranges.h>

#include "core/suggest.h"
#include "models/store/lora_config.h"

namespace continuo {

namespace {

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

bool names_layer(const std::string& target, const std::string& layer) {
  return target == kAllLinear || layer == target || layer.ends_with("." + target);
}

}  // namespace

std::vector<NamedLinear> adaptable_layers(const Model& model) {
  constexpr std::string_view kWeight = ".weight";
  std::vector<NamedLinear> layers;
  for (const auto& item : model.decoder->named_modules()) {
    auto* layer = dynamic_cast<LinearImpl*>(item.value().get());
    if (!layer) continue;
    const std::string parameter = item.key() + std::string(kWeight);
    const std::string name = model.family->checkpoint_name(parameter);
    const Placement place = model.family->place(parameter, model.decoder->spec());
    if (place.width != 0 || place.transposed) continue;
    layers.push_back({name.substr(0, name.size() - kWeight.size()), layer});
  }
  return layers;
}

AdapterSet attach_adapters(const Model& model, const LoraOptions& options,
                           const std::vector<std::string>& targets, uint64_t seed,
                           const Location& where) {
  const std::vector<NamedLinear> all = adaptable_layers(model);
  if (all.empty()) {
    throw Error(
        where,
        fmt::format(
            "models of the family '{}' keep no plain linear layers, so adapters have no place",
            model.family->name),
        "Train all weights: leave `lora:` out.");
  }
  std::set<std::string> known;
  for (const NamedLinear& linear : all) known.insert(last_part(linear.name));
  const bool fused = all.size() < linear_layers(*model.decoder).size();
  if (fused && std::ranges::find(targets, kAllLinear) != targets.end()) {
    throw Error(
        where,
        fmt::format(
            "target {}: the family '{}' stores some layers fused, which adapters cannot split",
            kAllLinear, model.family->name),
        fmt::format("Name the layers: {}.", fmt::join(known, ", ")));
  }
  for (const std::string& target : targets) {
    const auto named = [&](const NamedLinear& linear) { return names_layer(target, linear.name); };
    if (target.empty() || std::none_of(all.begin(), all.end(), named)) {
      std::string names = kAllLinear;
      for (const std::string& name : known) names += ", " + name;
      const std::vector<std::string> candidates(known.begin(), known.end());
      const std::optional<std::string> close = closest_name(target, candidates);
      throw Error(where, fmt::format("the model has no linear layer '{}'", target),
                  (close ? "did you mean " + *close + "? " : "") + "Known: " + names + ".");
    }
  }
  for (at::Tensor& parameter : model.decoder->parameters()) parameter.set_requires_grad(false);

  AdapterSet set;
  set.options = options;
  for (const NamedLinear& linear : all) {
    const auto names = [&](const std::string& target) { return names_layer(target, linear.name); };
    if (std::none_of(targets.begin(), targets.end(), names)) continue;
    const auto adapter =
        std::make_shared<LoraAdapter>(*linear.layer, options, seed, linear.name, set.pass);
    adapter->initialise();
    linear.layer->adapter = adapter;
    set.layers.push_back(linear);
  }
  // A layer that shares its last part with one that has no adapter is named in full.
  std::set<std::string> bare, used;
  for (const NamedLinear& linear : all) {
    if (!linear.layer->adapter) bare.insert(last_part(linear.name));
  }
  for (const NamedLinear& linear : set.layers) {
    const std::string part = last_part(linear.name);
    used.insert(bare.contains(part) ? linear.name : part);
  }
  set.targets.assign(used.begin(), used.end());
  return set;
}

NamedTensors adapter_parameters(const AdapterSet& adapters) {
  NamedTensors named;
  for (const NamedLinear& linear : adapters.layers) {
    for (const auto& [name, tensor] : linear.layer->adapter->parameters()) {
      named.emplace_back(linear.name + "." + name, tensor);
    }
  }
  return named;
}

void merge_adapters(AdapterSet& adapters) {
  const c10::NoGradGuard no_grad;
  for (const NamedLinear& linear : adapters.layers) {
    LinearImpl& layer = *linear.layer;
    layer.weight.set_data(merged_weight(layer, layer.adapter->low_rank(layer)));
    layer.adapter.reset();
  }
  adapters.layers.clear();
}

}  // namespace continuo
