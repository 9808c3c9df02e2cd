// The gradients of one optimizer step: forward and backward over its micro-batches, which training
// and benchmarks have in common. Knows nothing of the optimizer.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "data/step_loader.h"
#include "nn/adapters/dropout.h"
#include "nn/decoder.h"
#include "train/loss.h"

namespace continuo {

struct StepParts {
  Decoder& decoder;
  LossOptions loss = {};
  DropoutPass* dropout = nullptr;  // of the decoder's adapters
  // Names a row of the step for an error.
  std::function<std::string(int64_t row)> where = [](int64_t row) {
    return "row " + std::to_string(row);
  };
};

// Over the trained tokens of a step.
struct StepSums {
  double loss = 0;  // the mean, with smoothing and z-loss
  double nll = 0, entropy = 0;
  int64_t correct = 0;
};

// Adds to the gradients of the parameters those of Σ loss / step.trained_count, which is above 0.
// `number` counts optimizer steps from 0; the noise of dropout is a function of it. Error: a loss
// that is not finite; it names the rows.
StepSums accumulate_gradients(const TrainingStep& step, int64_t number, const StepParts& parts);

}  // namespace continuo
