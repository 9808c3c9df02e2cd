#include "data/step_source.h"

namespace continuo {

void TrainingStep::add(Batch batch) {
  count(batch.counts());
  micro_batches.push_back(std::move(batch));
}

void TrainingStep::count(const BatchCounts& counts) {
  rows += counts.rows;
  groups += counts.groups;
  tokens += counts.tokens;
  trained_count += counts.trained;
  weight += counts.weight;
}

}  // namespace continuo
