// The order of training: a stateless permutation of (seed, epoch) cut into optimizer steps and
// micro-batches. Nothing is replayed on resume: seek is O(1), and no order is ever held in memory.
// Knows no tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/config/config.h"
#include "data/example_store.h"

namespace continuo {

struct BatchConfig {
  // Rows of an optimizer step, a group of examples counting as one; 0 = as many as `tokens` allows.
  int64_t rows = 8;
  int64_t tokens = 0;  // token budget of an optimizer step; 0 = as many as `rows` says
  // Token budget of one forward/backward; steps above it accumulate gradients.
  int64_t micro_tokens = 8192;
  bool shuffle = true;
  int64_t seed = 0;
};
void fields(FieldVisitor& v, BatchConfig& c);
// Faults that one field cannot know alone; `key` is the dotted name of the section in `root`.
void validate(const BatchConfig& config, const ConfigNode& root, std::string_view key,
              Problems& problems);

struct StreamCursor {
  int64_t epoch = 0;
  int64_t index = 0;  // position in the epoch's order
  friend bool operator==(const StreamCursor&, const StreamCursor&) = default;
};

// The rows of one optimizer step, dealt to ranks and packed by length into micro-batches of at most
// micro_tokens (a longer row stands alone); the rows of a group are never parted. Which rows they
// are does not depend on the ranks. The last step of an epoch may be smaller; a step never crosses
// epochs.
struct StepRows {
  int64_t epoch = 0;
  std::vector<std::vector<int64_t>> micro_batches;  // example indices; all ranks', in their order
  std::vector<int64_t> ranks;                       // of the micro-batches
};

// Tokens are counted as the model sees them: an example of n tokens is n-1 positions.
//
// What is ordered, dealt and packed is a group of examples, mostly of one.
//
// A source of weight w appears floor(w) times in full per epoch, plus a share w - floor(w) of its
// examples that is drawn afresh every epoch. With `rows` and `tokens` a step ends at whichever is
// reached first, but holds one row at least. Without `shuffle` the examples come in the order of
// the sources.
class ExampleStream {
 public:
  // One weight per source of the store; empty = as the store was configured. Error: nothing to
  // train on, no budget.
  ExampleStream(std::shared_ptr<const ExampleStore> store, std::vector<double> source_weights,
                BatchConfig config, int64_t ranks = 1);

  StepRows next();
  StreamCursor cursor() const { return cursor_; }
  // Error: a position that does not exist.
  void seek(const StreamCursor& cursor);
  int64_t epoch_size() const;  // groups per epoch after weighting
  // The group at a position of an epoch.
  int64_t group(const StreamCursor& at) const;
  const ExampleStore& store() const { return *store_; }
  const BatchConfig& config() const { return config_; }

 private:
  struct Order;
  int64_t positions(int64_t group) const;
  double cost(int64_t group) const;  // of training on it, in tokens of a short one

  std::shared_ptr<const ExampleStore> store_;
  BatchConfig config_;
  int64_t ranks_;
  std::shared_ptr<const Order> order_;
  StreamCursor cursor_;
};

// Every example once, in store order, packed under the token budget: what evaluation walks over.
std::vector<std::vector<int64_t>> evaluation_batches(const ExampleStore& store,
                                                     int64_t micro_tokens);

}  // namespace continuo
