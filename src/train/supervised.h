// What every objective sees of a batch: the forward pass, and of its hidden states the rows that
// have a target.
#pragma once

#include <cstdint>
#include <vector>

#include "data/batch.h"
#include "nn/decoder.h"
#include "nn/head.h"
#include "train/head_loss.h"

namespace continuo {

struct Supervised {
  at::Tensor hidden;                // [M, hidden] in the compute dtype, differentiable
  at::Tensor targets;               // [M] int64, on hidden's device
  at::Tensor weights;               // [M] float32 there, or undefined: all are 1
  std::vector<int64_t> boundaries;  // [D+1]: document d has the rows [d, d+1) of these
  Head head;
};

// Error: what Decoder::forward finds.
Supervised supervised_rows(Decoder& decoder, const Batch& batch);
// What evaluation asks of them: each counts once, and nothing is smoothed.
NllResult token_nll(Decoder& decoder, const Batch& batch);

// A pass of a rank that has no rows for it, where ranks make their passes together: forward, and
// backward where gradients are enabled. It adds zeros.
void idle_pass(Decoder& decoder);

}  // namespace continuo
