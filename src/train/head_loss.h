// The supervised rows through the head, fused with what losses need of its softmax: chunks of
// logits under a memory budget, nothing of size [M, vocabulary] ever held.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "nn/head.h"

namespace continuo {

// Rows to add to a product of `rows` rows in `dtype`: up to the multiple that the device wants.
int64_t padding_rows(int64_t rows, at::Device device, at::ScalarType dtype);

struct HeadOptions {
  double temperature = 1;                     // logits are divided by it
  int64_t memory_budget = int64_t{64} << 20;  // bytes of logits held at once
};

struct LossOptions {
  // ε of (1−ε)·nll + ε·mean over the vocabulary of −log p (arXiv 1512.00567).
  double label_smoothing = 0;
  double z_loss = 0;  // coefficient of log²Z (arXiv 2204.02311)
  // Of the loss and its gradients: 1/N of the optimizer step, so that no later pass over the
  // gradients is needed.
  double scale = 1;
  HeadOptions head = {};
};

struct NllResult {
  at::Tensor sum;      // [] float32, differentiable: scale · Σ weight · loss
  at::Tensor nll;      // [M] float32: −log p(target), neither smoothed, weighted nor scaled
  at::Tensor entropy;  // [M] float32, nats
  at::Tensor correct;  // [M] float32: 1 where the target is the argmax
};

// hidden: [M, hidden] (the supervised rows), targets: [M] int64 in [0, V), weights: [M] float32, or
// undefined where all are 1. Gradients are made in the forward pass. M = 0 gives a graph-connected
// zero.
NllResult weighted_nll(const at::Tensor& hidden, const Head& head, const at::Tensor& targets,
                       const at::Tensor& weights, const LossOptions& options);

struct TokenLogprobs {
  at::Tensor logp;     // [M] float32: log p(target)
  at::Tensor entropy;  // [M] float32, nats
};

// Both are differentiable. Nothing of the logits is kept: the backward pass makes each chunk again.
TokenLogprobs token_logprobs(const at::Tensor& hidden, const Head& head, const at::Tensor& targets,
                             const HeadOptions& options = {});

}  // namespace continuo
