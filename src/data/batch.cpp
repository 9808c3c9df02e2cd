#include "data/batch.h"

#include <ATen/ops/empty.h>

#include "core/error.h"
#include "data/example_store.h"

namespace continuo {

Batch make_batch(std::span<const ExampleView> examples, std::span<const int64_t> rows) {
  if (examples.size() != rows.size()) fail("{} examples for {} rows", examples.size(), rows.size());
  Batch batch;
  batch.rows.assign(rows.begin(), rows.end());
  batch.boundaries.push_back(0);
  for (size_t d = 0; d < examples.size(); ++d) {
    const ExampleView& example = examples[d];
    if (example.tokens.size() < 2 || example.tokens.size() != example.trained.size()) {
      fail("example {} has {} tokens and {} flags: it cannot be fed", rows[d],
           example.tokens.size(), example.trained.size());
    }
    batch.boundaries.push_back(batch.boundaries.back() +
                               static_cast<int64_t>(example.tokens.size()) - 1);
  }
  const int64_t count = batch.boundaries.back();
  batch.tokens = at::empty({count}, at::kLong);
  batch.positions = at::empty({count}, at::kLong);
  batch.targets = at::empty({count}, at::kLong);
  auto* tokens = batch.tokens.mutable_data_ptr<int64_t>();
  auto* positions = batch.positions.mutable_data_ptr<int64_t>();
  auto* targets = batch.targets.mutable_data_ptr<int64_t>();
  int64_t at = 0;
  for (const ExampleView& example : examples) {
    for (size_t i = 0; i + 1 < example.tokens.size(); ++i, ++at) {
      const bool trained = example.trained[i + 1] != 0;
      tokens[at] = example.tokens[i];
      positions[at] = static_cast<int64_t>(i);
      targets[at] = trained ? example.tokens[i + 1] : kIgnoredTarget;
      batch.trained_count += trained;
    }
  }
  return batch;
}

Batch make_batch(const ExampleStore& store, std::span<const int64_t> rows) {
  std::vector<ExampleView> examples;
  examples.reserve(rows.size());
  for (const int64_t row : rows) examples.push_back(store[row]);
  return make_batch(examples, rows);
}

}  // namespace continuo
