// Cross-entropy of the supervised rows with the head fused in: chunks of logits under a memory
// budget, their gradients made in the forward pass, nothing of size [N, vocabulary] ever held.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace continuo {

// Rows to add to a product of `rows` rows in `dtype` so that few different numbers occur: up to the
// next multiple of 64 for bfloat16 on a CPU, else none.
int64_t padding_rows(int64_t rows, const at::Tensor& weight, at::ScalarType dtype);

struct LossOptions {
  // ε of (1−ε)·nll + ε·mean over the vocabulary of −log p (arXiv 1512.00567).
  double label_smoothing = 0;
  double z_loss = 0;         // coefficient of log²Z (arXiv 2204.02311)
  double logit_softcap = 0;  // c of logits c · tanh(raw / c) (arXiv 2408.00118); 0 = raw
  int64_t memory_budget = int64_t{64} << 20;  // bytes of logits held at once
};

struct LossResult {
  at::Tensor sum;       // [] float32, differentiable: Σ loss over the rows, times `scale`
  at::Tensor nll;       // [M] float32: −log p(target), neither smoothed nor scaled
  at::Tensor entropy;   // [M] float32, nats
  int64_t correct = 0;  // rows whose target is the argmax
};

// hidden: [M, hidden] (the supervised rows), head: [V, hidden] float32 parameter, head_cast: the
// head in hidden's dtype, targets: [M] int64 in [0, V). `scale` multiplies the loss and its
// gradients: 1/N of the optimizer step, so that no later pass over the gradients is needed. M = 0
// gives a graph-connected zero.
LossResult lm_loss(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& head_cast,
                   const at::Tensor& targets, double scale, const LossOptions& options);

}  // namespace continuo
