#include "app/calibration.h"

#include <optional>
#include <vector>

#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "io/calibrated_blocks.h"

namespace continuo {
namespace {

using TypeOf = std::function<GgmlType(const std::string& name)>;

// [out, in] float32: what blocks of rows say.
at::Tensor values_of(GgmlType type, const at::Tensor& blocks, int64_t in) {
  at::Tensor values = at::empty({blocks.size(0), in}, at::kFloat);
  const auto* const bytes = static_cast<const std::byte*>(blocks.const_data_ptr());
  dequantise(type, {bytes, static_cast<size_t>(blocks.numel())},
             {values.mutable_data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values;
}

// Watches a model's layers as long as it lives.
class Calibration {
 public:
  Calibration(const Model& model, const TypeOf& type_of)
      : model_(model),
        layers_(layers_of(model, type_of)),
        progress_({.title = "Calibrating", .total = std::ssize(layers_), .unit = "matrices"}) {
    for (const Layer& layer : layers_)
      layer.layer->observer = [this, &layer](const at::Tensor& x) { round(layer, x); };
  }
  ~Calibration() {
    release();
    for (const Layer& layer : layers_) layer.layer->observer = nullptr;
  }
  Calibration(const Calibration&) = delete;
  Calibration& operator=(const Calibration&) = delete;

  std::map<std::string, at::Tensor> take() {
    progress_.finish();
    return std::move(blocks_);
  }

 private:
  struct Layer {
    std::string parameter, name;  // in the model, in its checkpoint
    GgmlType type;
    LinearImpl* layer;
  };

  static std::vector<Layer> layers_of(const Model& model, const TypeOf& type_of) {
    std::vector<Layer> layers;
    for (const auto& item : model.decoder->named_modules()) {
      auto* const layer = dynamic_cast<LinearImpl*>(item.value().get());
      if (!layer) continue;
      const std::string parameter = item.key() + ".weight",
                        name = model.family->checkpoint_name(parameter);
      const GgmlType type = type_of(name);
      if (layer->weight.size(1) % ggml_format(type).block_size == 0)
        layers.push_back({parameter, name, type, layer});
    }
    return layers;
  }

  // The layer reads `x` next.
  void round(const Layer& at, const at::Tensor& x) {
    if (interrupted()) throw Error("interrupted");
    release();
    LinearImpl& layer = *at.layer;
    try {
      if (!input_.is_same(x)) {
        factor_.emplace(x);
        input_ = x;  // held, so that no other takes its place
      }
      const at::Tensor made = calibrated_blocks(at.type, layer.weight, *factor_);
      keep(at.name, model_.family->place(at.parameter, model_.decoder->spec()), made);
      layer.passing = values_of(at.type, made, layer.weight.size(1)).to(x.options());
    } catch (const Error& error) {
      fail("tensor '{}': {}", at.name, error.what());
    }
    rounded_ = &layer;
    progress_.add();
  }

  void keep(const std::string& name, Placement place, const at::Tensor& made) {
    place.transposed = false;
    at::Tensor& blocks = blocks_[name];
    if (!blocks.defined()) blocks = at::empty(place.stored_shape(made.sizes()), made.options());
    const at::Tensor part = place.part(blocks, made.sizes());
    part.copy_(made.view(part.sizes()));
  }

  // The layer that went on with its rounded weight has multiplied.
  void release() {
    if (rounded_) rounded_->passing = at::Tensor();
    rounded_ = nullptr;
  }

  const Model& model_;
  std::vector<Layer> layers_;
  Progress progress_;
  at::Tensor input_;
  std::optional<InputFactor> factor_;  // of it
  LinearImpl* rounded_ = nullptr;
  std::map<std::string, at::Tensor> blocks_;
};

}  // namespace

std::map<std::string, at::Tensor> calibrate(const Model& model, const Batch& batch,
                                            const TypeOf& type_of) {
  const c10::NoGradGuard no_grad;
  Calibration calibration(model, type_of);
  model.decoder->forward(
      {.tokens = batch.tokens, .positions = batch.positions, .boundaries = batch.boundaries});
  return calibration.take();
}

}  // namespace continuo
