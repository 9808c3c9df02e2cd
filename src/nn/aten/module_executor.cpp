#include "nn/aten/module_executor.h"

#include <set>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "nn/aten/ops.h"
#include "nn/backend.h"
#include "nn/upload.h"

namespace continuo {

namespace {

// Low-rank rows on top of a layer.
class LowRankAdapter : public LinearAdapter {
 public:
  explicit LowRankAdapter(const LowRank& rows) : rows_(rows) {}

  at::Tensor forward(LinearImpl& base, const at::Tensor& x) override {
    const auto product = [](const at::Tensor& a, const at::Tensor& b) {
      return linear(a, b, b, {});
    };
    const at::Tensor wide = x.to(at::kFloat);
    at::Tensor y = linear(x, base.weight, base.product_weight(x.scalar_type()), {}).to(at::kFloat);
    y = y + product(product(wide, rows_.a), rows_.b) * rows_.scale;
    if (rows_.factor.defined()) y = y * rows_.factor;
    if (base.bias.defined()) y = y + base.bias;
    return y.to(x.scalar_type());
  }
  at::Tensor forward(LinearImpl& base, const at::Tensor& first, const at::Tensor& second,
                     const RemadeInput& input) override {
    return forward(base, input.make(first, second));
  }
  LowRank low_rank(const LinearImpl&) override { return rows_; }
  std::vector<std::pair<std::string, at::Tensor>> parameters() const override { return {}; }

 private:
  LowRank rows_;
};

// The model computes as the executor does for as long as this lives: with its dtype, without
// dropout, with one adapter or none, with the weights that `quantised` gives of a layer.
class Borrowed {
 public:
  template <class F>
  Borrowed(Transformer& model, at::ScalarType dtype, const AdapterWeights* adapter,
           const F& quantised)
      : model_(model), compute_(model.compute()), training_(model.is_training()) {
    model.set_compute({.dtype = dtype});
    if (training_) model.eval();
    for (const auto& [place, layer] : model.linear_slots()) {
      saved_.emplace_back(layer, std::exchange(layer->adapter, nullptr));
      layer->quantised = quantised(layer);
      if (!adapter) continue;
      const auto rows = adapter->find(place);
      if (rows != adapter->end()) layer->adapter = std::make_shared<LowRankAdapter>(rows->second);
    }
  }
  ~Borrowed() {
    model_.set_compute(compute_);
    if (training_) model_.train();
    for (auto& [layer, adapter] : saved_) {
      layer->adapter = std::move(adapter);
      layer->quantised = {};
    }
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

 private:
  Transformer& model_;
  ComputeOptions compute_;
  bool training_;
  std::vector<std::pair<LinearImpl*, std::shared_ptr<LinearAdapter>>> saved_;
};

}  // namespace

ModuleExecutor::ModuleExecutor(std::shared_ptr<Transformer> model, const ExecutorOptions& options)
    : model_(std::move(model)), options_(options) {
  // Blocks are decoded as they are read.
  if (options_.weights == WeightFormat::blocks) options_.weights = WeightFormat::f32;
  // Products alone read these; rows of the embedding are those of the file.
  std::vector<at::Tensor> multiplied;
  if (!spec().head.tied) multiplied.push_back(model_->head_weight());
  for (const auto& [place, layer] : model_->linear_slots()) {
    // A router is small, and what it rounds away is another expert.
    if (is_quantised(options_.weights) && place.matrix != Matrix::router) {
      quantised_[layer] = {};
    } else {
      multiplied.push_back(layer->weight);
    }
  }
  refresh();
  model_->read_stored(multiplied, dtype());
  model_->read_stored({model_->named_parameters()["embedding"]}, {});
}

void ModuleExecutor::refresh() {
  for (auto& [layer, kept] : quantised_) {
    const TensorState source = state_of(layer->matrix().in_memory());
    if (kept.weight.defined() && kept.source == source) continue;
    kept = {quantise(layer->matrix(), options_.weights, device()), source};
  }
}

at::ScalarType ModuleExecutor::dtype() const {
  return options_.weights == WeightFormat::f32 ? at::kFloat : at::kBFloat16;
}

WeightMatrix ModuleExecutor::matrix(const MatrixPlace& place) const {
  for (const auto& [here, layer] : model_->linear_slots()) {
    const auto kept = quantised_.find(layer);
    if (!(here == place) || kept == quantised_.end()) continue;
    const ProductWeight weight(kept->second.weight);
    return {layer->matrix().out(), layer->matrix().in(),
            [weight](int64_t begin, int64_t end) { return weight.rows(begin, end, at::kFloat); }};
  }
  return model_->weights().matrices.at(place).weight;
}

std::string ModuleExecutor::description() const {
  return fmt::format("modules of training, {}, {}", backend_of(device()).name,
                     name(options_.weights));
}

// Attention writes keys and values as it computes them, so the cache has the type of the products.
std::unique_ptr<KVCache> ModuleExecutor::make_cache() const {
  const KVFormat format = cache_format(options_) == KVFormat::q8 ? KVFormat::q8
                          : dtype() == at::kBFloat16             ? KVFormat::bf16
                                                                 : KVFormat::f32;
  return backend_of(device()).cache.make(cache_layout(spec(), format), device());
}

at::Tensor ModuleExecutor::run_with(int64_t adapter, const RaggedInput& input,
                                    const CachedSequences& cached) {
  const AdapterWeights* weights = adapter == kNoAdapter ? nullptr : &adapters_.at(adapter);
  const Borrowed borrowed(*model_, dtype(), weights, [&](LinearImpl* layer) {
    const auto kept = quantised_.find(layer);
    return kept == quantised_.end() ? QuantisedWeight{} : kept->second.weight;
  });
  return model_->forward_cached(input, cached);
}

PassResult ModuleExecutor::run(const Pass& pass) {
  const c10::NoGradGuard no_grad;
  const RaggedInput& in = pass.input;
  const auto adapter_of = [&](int64_t d) {
    return pass.adapters.empty() ? kNoAdapter : pass.adapters[d];
  };
  std::set<int64_t> adapters;
  for (int64_t d = 0; d < in.documents(); ++d) adapters.insert(adapter_of(d));
  PassResult result;
  if (adapters.size() == 1) {
    result.hidden = run_with(*adapters.begin(), in, {pass.cache, pass.sequences});
  } else {
    result.hidden = at::empty({in.tokens.size(0), spec().embedding.hidden},
                              at::TensorOptions(dtype()).device(device()));
    for (const int64_t adapter : adapters) {
      std::vector<int64_t> rows, sequences, boundaries{0};
      for (int64_t d = 0; d < in.documents(); ++d) {
        if (adapter_of(d) != adapter) continue;
        for (int64_t r = in.boundaries[d]; r < in.boundaries[d + 1]; ++r) rows.push_back(r);
        boundaries.push_back(static_cast<int64_t>(rows.size()));
        sequences.push_back(pass.sequences[d]);
      }
      const at::Tensor index = index_tensor(rows, device());
      const RaggedInput part = {.tokens = in.tokens.index_select(0, index),
                                .positions = in.positions.index_select(0, index),
                                .boundaries = boundaries};
      result.hidden.index_copy_(0, index, run_with(adapter, part, {pass.cache, sequences}));
    }
  }
  if (pass.wanted.empty()) return result;
  result.logits = logits(result.hidden.index_select(0, index_tensor(pass.wanted, device())));
  return result;
}

int64_t ModuleExecutor::add_adapter(const AdapterWeights& adapter) {
  AdapterWeights& held = adapters_[next_adapter_] = adapter;
  for (auto& [place, rows] : held) {
    for (at::Tensor* tensor : {&rows.a, &rows.b, &rows.factor}) {
      if (tensor->defined()) *tensor = tensor->to(device());
    }
  }
  return next_adapter_++;
}

int64_t ModuleExecutor::weight_bytes() const {
  const auto element = static_cast<int64_t>(c10::elementSize(dtype()));
  int64_t bytes = model_->head_weight().numel() * element;
  for (const auto& [place, layer] : model_->linear_slots()) {
    const auto kept = quantised_.find(layer);
    bytes += kept == quantised_.end() ? layer->weight.numel() * element
                                      : static_cast<int64_t>(kept->second.weight.panels.nbytes());
  }
  return bytes;
}

namespace aten {

std::unique_ptr<Executor> make_executor(const std::shared_ptr<Transformer>& model,
                                        const ExecutorOptions& options) {
  return std::make_unique<ModuleExecutor>(model, options);
}

}  // namespace aten

}  // namespace continuo
