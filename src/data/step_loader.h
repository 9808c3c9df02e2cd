// Prepares the batches of coming optimizer steps in one thread of its own while the model runs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/batch.h"
#include "data/example_stream.h"

namespace continuo {

struct TrainingStep {
  int64_t epoch = 0;
  std::vector<Batch> micro_batches;
  int64_t rows = 0;
  int64_t tokens = 0;  // positions fed, prompts included
  // N: trained targets of the whole step, known before the first forward.
  int64_t trained_count = 0;
  StreamCursor after;  // where the stream stands when this step is done: what a checkpoint saves
};

// The steps are those that `stream` would give from its cursor, whatever the depth.
class StepLoader {
 public:
  // Keeps up to `depth` steps ready. Error: depth < 1.
  explicit StepLoader(ExampleStream stream, int64_t depth = 2);
  ~StepLoader();
  StepLoader(const StepLoader&) = delete;
  StepLoader& operator=(const StepLoader&) = delete;

  // The next step; waits when it is not ready. Endless: epoch follows epoch. Throws what preparing
  // it threw.
  TrainingStep next();
  int64_t epoch_size() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace continuo
