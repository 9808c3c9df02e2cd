// The adapters of a model: attached to its linear layers by their Hugging Face names, trained in
// place of the weights, merged into them. Files are the business of adapter_file.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "io/safetensors.h"
#include "models/store/model.h"
#include "nn/adapters/lora.h"

namespace continuo {

// A linear layer by its place in a checkpoint, "model.layers.0.self_attn.q_proj".
struct NamedLinear {
  std::string name;
  LinearImpl* layer = nullptr;  // of the model
};
// The linear layers that a checkpoint stores as matrices of their own, which adapter files can
// name, in the model's order: no part of a fused matrix and no transposed one.
std::vector<NamedLinear> adaptable_layers(const Model& model);

struct AdapterSet {
  LoraOptions options;
  // The last parts of the layers' names where that says it all, else whole names; sorted.
  std::vector<std::string> targets;
  std::shared_ptr<DropoutPass> pass = std::make_shared<DropoutPass>();
  std::vector<NamedLinear> layers;  // those that carry an adapter
  std::string base_weights;         // "q8", "q4": they were trained on the base rounded to that

  bool empty() const { return layers.empty(); }
};

// Freezes the model and gives each layer that a target names a fresh adapter. A target is the end
// of a layer's name from a dot on, as in PEFT, or "all-linear". Error at `where`: a target that
// names no layer.
AdapterSet attach_adapters(const Model& model, const LoraOptions& options,
                           const std::vector<std::string>& targets, uint64_t seed,
                           const Location& where);

// "model.layers.0.self_attn.q_proj.lora_A.weight" and so on, in the model's order; the trained
// tensors themselves.
NamedTensors adapter_parameters(const AdapterSet& adapters);

// Puts W + s·B·A (DoRA: with its magnitudes) in place of each weight, float32 and in memory of its
// own, and detaches the adapters.
void merge_adapters(AdapterSet& adapters);

}  // namespace continuo
