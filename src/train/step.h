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
#include "train/gradients.h"
#include "train/objective.h"

namespace continuo {

struct StepContext {
  Decoder& decoder;
  Gradients& gradients;  // of what is trained
  int64_t number = 0;    // of the optimizer step, from 0: the noise of dropout is a function of it
  DropoutPass* dropout = nullptr;  // of the decoder's adapters
  // Asked at the step's end; a wish of one rank is one of all.
  std::function<bool()> stop = [] { return false; };
  // Names a row of the step for an error.
  std::function<std::string(int64_t row)> where = [](int64_t row) {
    return "row " + std::to_string(row);
  };
};

struct StepResult {
  double loss = 0;
  double gradient_norm = 0;
  bool stop = false;                 // some rank wishes to
  std::vector<double> metrics = {};  // as the objective lists them
};

// The gradients of the step's loss, in the shares of the context's gradients, from the
// micro-batches of all ranks: called on each of them, with the same result. The step must have a
// trained target. The host waits for the device once, at the end. Error: a loss that is not finite;
// it names the rows.
StepResult accumulate(TrainingStep& step, Objective& objective, const StepContext& context);

}  // namespace continuo
