// The gradients of one optimizer step: forward and backward over its micro-batches, which training
// and benchmarks have in common. Knows nothing of the optimizer, nor of what is minimised.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/step_source.h"
#include "nn/adapters/dropout.h"
#include "nn/decoder.h"
#include "train/objective.h"

namespace continuo {

struct StepContext {
  Decoder& decoder;
  int64_t number = 0;  // of the optimizer step, from 0: the noise of dropout is a function of it
  DropoutPass* dropout = nullptr;  // of the decoder's adapters
  // Names a row of the step for an error.
  std::function<std::string(int64_t row)> where = [](int64_t row) {
    return "row " + std::to_string(row);
  };
};

struct StepResult {
  double loss = 0;
  std::vector<double> metrics = {};  // as the objective lists them
};

// Adds the gradients of the step's loss to those of the parameters. The step must have a trained
// target. The host waits for the device once, at the end. Error: a loss that is not finite; it
// names the rows.
StepResult accumulate(TrainingStep& step, Objective& objective, const StepContext& context);

}  // namespace continuo
