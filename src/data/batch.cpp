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

int64_t distinct(std::vector<int64_t> values) {
  std::ranges::sort(values);
  return std::ranges::unique(values).begin() - values.begin();
}

// Whether a batch has weights of its own.
bool weighted(std::span<const ExampleView> examples) {
  return std::ranges::any_of(examples, [](const ExampleView& e) { return !e.weights.empty(); });
}

// Of target i - 1, which is token i.
float weight_of(const ExampleView& example, size_t i) {
  return !example.trained[i] ? 0 : example.weights.empty() ? 1 : example.weights[i];
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
  if (!weighted(examples)) return;
  batch.weights = at::empty({batch.boundaries.back()}, at::kFloat);
  batch.weight = 0;
  auto* weight = batch.weights.mutable_data_ptr<float>();
  for (const ExampleView& example : examples) {
    for (size_t i = 1; i < example.tokens.size(); ++i, ++weight) {
      *weight = weight_of(example, i);
      batch.weight += *weight;
    }
  }
}

struct Stored {
  std::vector<ExampleView> examples;
  std::vector<int64_t> groups;
};

Stored read(const ExampleStore& store, std::span<const int64_t> rows) {
  Stored stored;
  for (const int64_t row : rows) {
    stored.examples.push_back(store[row]);
    stored.groups.push_back(store.group(row));
  }
  return stored;
}

}  // namespace

BatchCounts Batch::counts() const {
  return {std::ssize(rows), distinct(groups), boundaries.back(), trained_count, weight};
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
  const Stored stored = read(store, rows);
  return make_batch(stored.examples, rows, stored.groups);
}

BatchCounts count_batch(const ExampleStore& store, std::span<const int64_t> rows) {
  const Stored stored = read(store, rows);
  BatchCounts counts{.rows = std::ssize(rows), .groups = distinct(stored.groups)};
  for (const ExampleView& example : stored.examples) {
    counts.tokens += std::ssize(example.tokens) - 1;
    for (size_t i = 1; i < example.tokens.size(); ++i) {
      counts.trained += example.trained[i] != 0;
      counts.weight += weight_of(example, i);
    }
  }
  return counts;
}

}  // namespace continuo
