#include "models/store/save_model.h"

#include <map>
#include <set>

#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "io/safetensors.h"
#include "io/safetensors_patch.h"
#include "nn/unset_parameter.h"

namespace continuo {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// The stored tensors of a model, in the order of its parameters.
std::vector<TensorOutline> outline_of(const Model& model) {
  std::vector<TensorOutline> tensors;
  std::set<std::string> named;
  for (const auto& item : model.decoder->named_parameters()) {
    const at::Tensor& value = item.value();
    const std::string name = model.family->checkpoint_name(item.key());
    if (!named.insert(name).second) continue;
    const Placement place = model.family->place(item.key(), model.decoder->spec());
    tensors.push_back({name, value.scalar_type(), place.stored_shape(value.sizes())});
  }
  return tensors;
}

void check_in_memory(const std::string& name, const at::Tensor& parameter) {
  if (is_unset(parameter)) fail("'{}' is not in memory and cannot be written", name);
}

// Those that these parameters make; they are all that lie in each.
NamedTensors stored_tensors(const Model& model, const NamedParameters& parameters) {
  const c10::NoGradGuard no_grad;
  NamedTensors tensors;
  std::map<std::string, at::Tensor> shared;
  for (const auto& [parameter, with_gradient] : parameters) {
    const std::string name = model.family->checkpoint_name(parameter);
    const Placement place = model.family->place(parameter, model.decoder->spec());
    const at::Tensor value = with_gradient.detach();
    check_in_memory(name, value);
    if (place.width == 0) {
      tensors.emplace_back(name, place.transposed ? value.t() : value);
      continue;
    }
    at::Tensor& stored = shared[name];
    if (!stored.defined()) {
      stored = at::empty(place.stored_shape(value.sizes()), value.options());
      tensors.emplace_back(name, stored);
    }
    const at::Tensor part = place.part(stored, value.sizes());
    part.copy_(value.reshape(part.sizes()));
  }
  return tensors;
}

void write_weights(const Model& model, const fs::path& file, const HandOver& weights) {
  const std::vector<TensorOutline> outline = outline_of(model);
  create_safetensors(file, outline, {{"format", "pt"}});
  SafetensorsPatch patch(file);
  std::set<std::string> written;
  const auto take = [&](const NamedParameters& parameters) {
    for (const auto& [name, tensor] : stored_tensors(model, parameters)) {
      patch.write(name, 0, tensor.cpu());
      written.insert(name);
    }
  };
  if (weights) {
    weights(take);
  } else {
    for (const NamedParameters& part : parameters_by_part(*model.decoder)) take(part);
  }
  patch.close();
  for (const TensorOutline& tensor : outline) {
    if (!written.contains(tensor.name)) fail("nobody had '{}' to be written", tensor.name);
  }
}

}  // namespace

void save_model(const Model& model, const fs::path& directory, const SpecialIds& ids,
                const HandOver& weights) {
  if (!weights) {
    // Before what is to be written to: it may be the file that they still lie in.
    for (const auto& item : model.decoder->named_parameters())
      check_in_memory(item.key(), item.value());
  }
  json config = model.family->write_config(model.decoder->spec());
  json generation = json::object();
  for (json* file : {&config, &generation}) {
    if (ids.bos) (*file)["bos_token_id"] = *ids.bos;
    if (ids.pad) (*file)["pad_token_id"] = *ids.pad;
    if (ids.eos.size() == 1) (*file)["eos_token_id"] = ids.eos.front();
    if (ids.eos.size() > 1) (*file)["eos_token_id"] = ids.eos;
  }
  const bool narrow = model.decoder->parameters().front().scalar_type() == at::kBFloat16;
  config["dtype"] = narrow ? "bfloat16" : "float32";
  atomic_write(directory / "config.json", config.dump(2) + "\n");
  atomic_write(directory / "generation_config.json", generation.dump(2) + "\n");
  write_weights(model, directory / "model.safetensors", weights);
}

}  // namespace continuo
