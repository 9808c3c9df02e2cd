#include "data/batch.h"

#include <algorithm>

#include <ATen/ops/empty.h>

#include "core/error.h"
#include "data/example_store.h"

namespace continuo {

namespace {

void check_example(const ExampleView& example, int64_t row) {
  const size_t count = example.tokens.size();
  if (count < 2 || count != example.trained.size() ||
      (!example.weights.empty() && count != example.weights.size())) {
    fail("example {} has {} tokens, {} flags and {} weights: it cannot be fed", row, count,
         example.trained.size(), example.weights.size());
  }
}

std::vector<int64_t> boundaries_of(std::span<const ExampleView> examples) {
  std::vector<int64_t> boundaries = {0};
  for (const ExampleView& example : examples) {
    boundaries.push_back(boundaries.back() + std::ssize(example.tokens) - 1);
  }
  return boundaries;
}

void fill_documents(std::span<const ExampleView> examples, Batch& batch) {
  auto* token = batch.tokens.mutable_data_ptr<int64_t>();
  auto* position = batch.positions.mutable_data_ptr<int64_t>();
  auto* target = batch.targets.mutable_data_ptr<int64_t>();
  for (const ExampleView& example : examples) {
    for (size_t i = 0; i + 1 < example.tokens.size(); ++i) {
      const bool trained = example.trained[i + 1] != 0;
      *token++ = example.tokens[i];
      *position++ = static_cast<int64_t>(i);
      *target++ = trained ? example.tokens[i + 1] : kIgnoredTarget;
      batch.trained_count += trained;
    }
  }
}

void fill_weights(std::span<const ExampleView> examples, Batch& batch) {
  batch.weight = static_cast<double>(batch.trained_count);
  const auto weighted = [](const ExampleView& example) { return !example.weights.empty(); };
  if (std::ranges::none_of(examples, weighted)) return;
  batch.weights = at::empty({batch.boundaries.back()}, at::kFloat);
  batch.weight = 0;
  auto* weight = batch.weights.mutable_data_ptr<float>();
  for (const ExampleView& example : examples) {
    for (size_t i = 1; i < example.tokens.size(); ++i, ++weight) {
      *weight = !example.trained[i] ? 0 : example.weights.empty() ? 1 : example.weights[i];
      batch.weight += *weight;
    }
  }
}

}  // namespace

int64_t Batch::group_count() const {
  std::vector<int64_t> seen = groups;
  std::ranges::sort(seen);
  return std::ranges::unique(seen).begin() - seen.begin();
}

Batch make_batch(std::span<const ExampleView> examples, std::span<const int64_t> rows,
                 std::span<const int64_t> groups) {
  if (groups.empty()) groups = rows;
  if (examples.size() != rows.size() || groups.size() != rows.size()) {
    fail("{} examples and {} groups for {} rows", examples.size(), groups.size(), rows.size());
  }
  for (size_t d = 0; d < examples.size(); ++d) check_example(examples[d], rows[d]);
  Batch batch;
  batch.rows.assign(rows.begin(), rows.end());
  batch.groups.assign(groups.begin(), groups.end());
  batch.boundaries = boundaries_of(examples);
  const int64_t count = batch.boundaries.back();
  batch.tokens = at::empty({count}, at::kLong);
  batch.positions = at::empty({count}, at::kLong);
  batch.targets = at::empty({count}, at::kLong);
  fill_documents(examples, batch);
  fill_weights(examples, batch);
  return batch;
}

Batch make_batch(const ExampleStore& store, std::span<const int64_t> rows) {
  std::vector<ExampleView> examples;
  std::vector<int64_t> groups;
  for (const int64_t row : rows) {
    examples.push_back(store[row]);
    groups.push_back(store.group(row));
  }
  return make_batch(examples, rows, groups);
}

}  // namespace continuo
