// What training and evaluation know of a model: tokens to hidden states, hidden states to logits.
// Families (models/) build one; nothing else of a family is visible. Generation runs an Executor
// (nn/executor.h) made of it.
#pragma once

#include <optional>
#include <vector>

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

  // Whom a pass asks for each parameter before it reads it; nobody at first. Everybody else has to
  // be sure of the weights without it.
  virtual void set_weight_gate(WeightGate* gate) = 0;
  // What a pass reads together and is then done with: it tells the gate so. In the order of a
  // forward pass: what embeds, the blocks, the head; tied weights are in the first and the last. A
  // backward pass reads the blocks alone. The head stays for whoever called the pass until the
  // backward pass comes back from there, or the next pass begins. Parameters that are in no part
  // may be read at any time once they were asked for.
  virtual std::vector<std::vector<at::Tensor>> parts() const { return {}; }
  // Brings those of the parameters that stayed in their file into memory, in `dtype` or in the
  // types in which they are stored.
  virtual void read_stored(const std::vector<at::Tensor>& parameters,
                           std::optional<at::ScalarType> dtype) {
    static_cast<void>(parameters);
    static_cast<void>(dtype);
  }
};

}  // namespace continuo
