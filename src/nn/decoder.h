// What training and evaluation know of a model: tokens to hidden states, hidden states to logits.
// Families (models/) build one; nothing else of a family is visible. Generation runs an Executor
// (nn/executor.h) made of it.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include "nn/head.h"
#include "nn/model_spec.h"
#include "nn/ragged.h"
#include "nn/weight_gate.h"

namespace continuo {

// How a forward pass computes; the parameters stay as they are.
struct ComputeOptions {
  at::ScalarType dtype = at::kFloat;  // of the products: float32 or bfloat16
  bool recompute = false;             // keep only block inputs while training
};

class Decoder : public torch::nn::Module {
 public:
  ~Decoder() override = default;

  // → [N, hidden] in the compute dtype.
  virtual at::Tensor forward(const RaggedInput& input) = 0;
  // Rows of hidden states to the vocabulary.
  virtual at::Tensor logits(const at::Tensor& rows) = 0;  // [M, hidden] → [M, V] float32
  // For losses that fuse it with the softmax; its cast is in `dtype`.
  virtual Head head(at::ScalarType dtype) = 0;

  virtual const ModelSpec& spec() const = 0;
  virtual at::Device device() const = 0;
  virtual void set_compute(const ComputeOptions& options) = 0;
  virtual const ComputeOptions& compute() const = 0;

  // Whom `forward` asks for each parameter before it reads it; nobody at first. What a pass does
  // not read before its end, and everybody else, has to be sure of the weights without it.
  virtual void set_weight_gate(WeightGate* gate) = 0;
};

}  // namespace continuo
