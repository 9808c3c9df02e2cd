// Where the batches of optimizer steps come from: a stored data set, or whatever else makes rows.
#pragma once

#include <cstdint>
#include <vector>

#include "data/batch.h"
#include "data/example_stream.h"

namespace continuo {

// Counts are of the whole step, wherever its micro-batches are computed.
struct TrainingStep {
  int64_t epoch = 0;
  std::vector<Batch> micro_batches;  // those of this rank
  int64_t rows = 0;                  // documents
  int64_t groups = 0;                // of documents that belong together; a row alone is one
  int64_t tokens = 0;                // positions fed, prompts included
  // Trained targets and N, the sum of their weights: known before the first forward.
  int64_t trained_count = 0;
  double weight = 0;
  StreamCursor after;  // where the source stands when this step is done: what a checkpoint saves

  // Takes a micro-batch and counts it; it holds whole groups.
  void add(Batch batch);
  // Counts one that another rank computes.
  void count(const BatchCounts& counts);
};

class StepSource {
 public:
  virtual ~StepSource() = default;
  // The next step; may wait for it. Error: what went wrong while it was made.
  virtual TrainingStep next() = 0;
};

}  // namespace continuo
