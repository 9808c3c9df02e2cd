// Prepares the batches of coming optimizer steps in one thread of its own while the model runs.
#pragma once

#include <cstdint>
#include <memory>

#include "data/example_stream.h"
#include "data/step_source.h"

namespace continuo {

struct LoaderOptions {
  int64_t rank = 0;   // of the stream's: whose batches are made
  int64_t depth = 2;  // steps that are kept ready
};

// The steps are those that `stream` would give from its cursor, whatever the depth.
class StepLoader : public StepSource {
 public:
  // Error: depth < 1.
  explicit StepLoader(ExampleStream stream, LoaderOptions options = {});
  ~StepLoader() override;
  StepLoader(const StepLoader&) = delete;
  StepLoader& operator=(const StepLoader&) = delete;

  // The next step; waits when it is not ready. Endless: epoch follows epoch. Throws what preparing
  // it threw.
  TrainingStep next() override;
  int64_t epoch_size() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace continuo
