// The executor of any device: the modules of training, without gradients, with a cache of plain
// tensors. What engines equal in tests. Documents of different adapters run one after the other.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "nn/executor.h"
#include "nn/transformer.h"

namespace continuo {

class ModuleExecutor : public Executor {
 public:
  // Of 8 or 4 bits are the layers' matrices, but for routers; the model's own stay as they are, and
  // where they lie. Activations are bfloat16 beside them.
  ModuleExecutor(std::shared_ptr<Transformer> model, const ExecutorOptions& options);

  const ModelSpec& spec() const override { return model_->spec(); }
  const ExecutorOptions& options() const override { return options_; }
  at::Device device() const override { return model_->device(); }
  std::string description() const override;
  std::unique_ptr<KVCache> make_cache() const override;
  PassResult run(const Pass& pass) override;
  at::Tensor logits(const at::Tensor& rows) override { return model_->logits(rows.to(dtype())); }
  Head head() const override { return model_->head(dtype()); }
  WeightMatrix matrix(const MatrixPlace& place) const override;
  WeightMatrix head_matrix() const override { return model_->weights().head; }
  void refresh() override;
  int64_t add_adapter(const AdapterWeights& adapter) override;
  void remove_adapter(int64_t id) override { adapters_.erase(id); }
  int64_t weight_bytes() const override;
  // A few dozen rows are nearly free on a device that computes much faster than it reads.
  PassTime pass_time() const override { return {.extra = 0.005, .arithmetic = 0}; }

 private:
  struct Quantised {
    QuantisedWeight weight;
    TensorState source;  // of the layer's weight; {} where it is in a file, which does not change
  };
  at::ScalarType dtype() const;
  // The documents of one adapter → their hidden states.
  at::Tensor run_with(int64_t adapter, const RaggedInput& input, const CachedSequences& cached);

  std::shared_ptr<Transformer> model_;
  ExecutorOptions options_;
  std::map<LinearImpl*, Quantised> quantised_;
  std::map<int64_t, AdapterWeights> adapters_;
  int64_t next_adapter_ = 0;
};

}  // namespace continuo
