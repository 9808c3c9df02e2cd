// The order of training: a stateless permutation of (seed, epoch) cut into optimizer steps and micro-batches.
// Nothing is replayed on resume: seek is O(1).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/config.h"
#include "data/batch.h"
#include "data/example_store.h"

namespace continuo {

struct BatchConfig {
  int64_t rows = 8;             // rows of an optimizer step; 0 = as many as `tokens` allows
  int64_t tokens = 0;           // token budget of an optimizer step; 0 = as many as `rows` says
  int64_t micro_tokens = 8192;  // token budget of one forward/backward; steps above it accumulate gradients
  bool shuffle = true;
  int64_t seed = 0;
};
void fields(FieldVisitor& v, BatchConfig& c);

struct StreamCursor {
  int64_t epoch = 0;
  int64_t index = 0;  // position in the epoch's order
  friend bool operator==(const StreamCursor&, const StreamCursor&) = default;
};

// The rows of one optimizer step, packed by length into micro-batches of at most micro_tokens (a longer row stands
// alone). The last step of an epoch may be smaller; a step never crosses epochs.
struct StepRows {
  int64_t epoch = 0;
  std::vector<std::vector<int64_t>> micro_batches;  // example indices
};

class ExampleStream {
 public:
  ExampleStream(std::shared_ptr<const ExampleStore> store, std::vector<double> source_weights, BatchConfig config);

  StepRows next();
  StreamCursor cursor() const;
  void seek(const StreamCursor& cursor);
  int64_t epoch_size() const;  // rows per epoch after weighting
  const ExampleStore& store() const;

 private:
  struct Order;
  std::shared_ptr<const ExampleStore> store_;
  BatchConfig config_;
  std::shared_ptr<const Order> order_;
  StreamCursor cursor_;
};

// Every example once, in store order, packed under the token budget: what evaluation walks over.
std::vector<std::vector<int64_t>> evaluation_batches(const ExampleStore& store, int64_t micro_tokens);

}  // namespace continuo
