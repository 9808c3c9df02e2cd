#include "data/step_source.h"

namespace continuo {

void TrainingStep::add(Batch batch) {
  rows += std::ssize(batch.rows);
  groups += batch.group_count();
  tokens += batch.boundaries.back();
  trained_count += batch.trained_count;
  weight += batch.weight;
  micro_batches.push_back(std::move(batch));
}

}  // namespace continuo
