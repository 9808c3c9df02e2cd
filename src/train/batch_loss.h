// The loss of one ragged batch: forward, the supervised rows gathered, head and cross-entropy
// fused. Training, evaluation and benchmarks all go through it.
#pragma once

#include "data/batch.h"
#include "nn/decoder.h"
#include "train/loss.h"

namespace continuo {

// `scale` as in lm_loss. The batch must have a trained target.
LossResult batch_loss(Decoder& decoder, const Batch& batch, double scale,
                      const LossOptions& options);

}  // namespace continuo
