#include "train/passing_weights.h"

namespace continuo {

PassingWeights::PassingWeights(Decoder& decoder) {
  for (const auto& module : decoder.modules()) {
    if (auto* const layer = dynamic_cast<LinearImpl*>(module.get()))
      layers_[layer->weight.unsafeGetTensorImpl()] = layer;
  }
}

PassingWeights::~PassingWeights() {
  for (const auto& [layer, passing] : passing_) layer->passing.reset();
}

bool PassingWeights::multiplies(const at::Tensor& parameter) const {
  return layers_.contains(parameter.unsafeGetTensorImpl());
}

void PassingWeights::add(const at::Tensor& parameter, const at::Tensor& passing) {
  const auto layer = layers_.find(parameter.unsafeGetTensorImpl());
  if (layer == layers_.end()) return;
  passing_.emplace_back(layer->second, passing);
  layer->second->passing = passing;
}

void PassingWeights::read_weights(bool themselves) {
  for (const auto& [layer, passing] : passing_)
    layer->passing = themselves ? layer->weight.detach() : passing;
}

}  // namespace continuo
