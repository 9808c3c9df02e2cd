// One ragged micro-batch: documents laid end to end, targets already shifted (here and nowhere
// else).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "data/example.h"

namespace continuo {

class ExampleStore;

inline constexpr int64_t kIgnoredTarget = -100;

// What a step counts of its documents, wherever they are computed.
struct BatchCounts {
  int64_t rows = 0;    // documents
  int64_t groups = 0;  // of documents that belong together
  int64_t tokens = 0;  // positions fed
  int64_t trained = 0;
  double weight = 0;  // Σ over trained targets
};

struct Batch {
  at::Tensor tokens;     // [N] int64, CPU
  at::Tensor positions;  // [N] int64, restart at 0 in every document
  at::Tensor targets;    // [N] int64, the next token of the same document where trained, else -100
  at::Tensor weights;    // [N] float32: of each target in the loss; undefined: all are 1
  std::vector<int64_t> boundaries;  // [D+1] offsets into the above
  int64_t trained_count = 0;        // targets that are not -100
  double weight = 0;                // Σ of their weights
  std::vector<int64_t> rows;        // [D] example indices, for messages about a document
  std::vector<int64_t> groups;      // [D]: documents of one number belong together
  // What an objective adds before the first loss of a step, by name ("reference_logprob").
  std::map<std::string, at::Tensor> columns;

  BatchCounts counts() const;
};

// The last token of a document has no successor, so it is never fed: a document of n tokens gives
// n-1 positions. A document's first token is never a target, so nothing leaks from one document
// into the next. Runs no parallel ATen op. Each document is a group of its own unless `groups` says
// otherwise. Error: a document of fewer than two tokens.
Batch make_batch(std::span<const ExampleView> examples, std::span<const int64_t> rows,
                 std::span<const int64_t> groups = {});
Batch make_batch(const ExampleStore& store, std::span<const int64_t> rows);
// Those of make_batch(store, rows), to the bit, without its tensors.
BatchCounts count_batch(const ExampleStore& store, std::span<const int64_t> rows);

}  // namespace continuo
