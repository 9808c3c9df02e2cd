// A model as an executor serves it, for those who evaluate a Decoder: what is measured is what
// generation computes. Whole documents, no gradients.
#pragma once

#include <memory>

#include "nn/decoder.h"
#include "nn/executor.h"

namespace continuo {

class ServedDecoder : public Decoder {
 public:
  // All documents with one adapter, or none.
  explicit ServedDecoder(std::shared_ptr<Executor> executor, int64_t adapter = kNoAdapter)
      : executor_(std::move(executor)), adapter_(adapter) {}

  at::Tensor forward(const RaggedInput& input) override;
  at::Tensor logits(const at::Tensor& rows) override;
  Head head(at::ScalarType dtype) override;
  const ModelSpec& spec() const override { return executor_->spec(); }
  at::Device device() const override { return executor_->device(); }
  void set_compute(const ComputeOptions& options) override { compute_ = options; }
  const ComputeOptions& compute() const override { return compute_; }
  void set_weight_gate(WeightGate*) override {}  // an executor has its own weights

 private:
  std::shared_ptr<Executor> executor_;
  int64_t adapter_;
  ComputeOptions compute_;
};

}  // namespace continuo
