// An executor together with the keys and values of the sequences that it continues: token ids in,
// logits out. What the scheduler and a draft model have in common. A sequence begins with what it
// shares with any other that is held, live or ended, of the same adapter: nothing is computed
// twice.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "generate/sampling/vocabulary.h"
#include "nn/executor.h"

namespace continuo {

// How many tokens two sequences begin with in common.
size_t shared_length(std::span<const TokenId> a, std::span<const TokenId> b);

class CachedDecoder {
 public:
  // Holds the `keeps` sequences that ended last. `executor` outlives this.
  explicit CachedDecoder(Executor& executor, int64_t keeps = 0);

  // A sequence that is to hold `tokens`, computed with an adapter → its id. `length` may be above
  // 0: what of another sequence is a beginning of `tokens`, the last token left out, whose logits
  // are yet to be asked for.
  int64_t begin(std::span<const TokenId> tokens, int64_t adapter = kNoAdapter);
  int64_t fork(int64_t sequence);
  int64_t length(int64_t sequence) const { return cache_->length(sequence); }
  // → the length that is held now, at most the one asked for (KVCache::truncate).
  int64_t truncate(int64_t sequence, int64_t length);
  void end(int64_t sequence);   // perhaps kept
  void drop(int64_t sequence);  // surely not

  // New tokens of one sequence, and of how many of the last of them the logits are wanted.
  struct Piece {
    int64_t sequence;
    std::span<const TokenId> tokens;
    int64_t wanted = 1;
  };
  // Appends all pieces in one pass → [wanted in all, vocabulary] where the executor computes.
  at::Tensor run(std::span<const Piece> pieces);
  // Appends tokens, at most `chunk` a pass.
  void append(int64_t sequence, std::span<const TokenId> tokens, int64_t chunk);

  PassTime pass_time() const { return executor_.pass_time(); }
  // Time of a pass over one row in a unit that all executors of a device have in common.
  double pass_cost() const { return static_cast<double>(executor_.weight_bytes()); }

  const ModelSpec& spec() const { return executor_.spec(); }
  int64_t bytes() const { return cache_->bytes(); }

 private:
  struct Held {
    std::vector<TokenId> tokens;  // what the cache holds of it
    int64_t adapter = kNoAdapter;
    bool live = false;
  };
  Held& hold(int64_t sequence);

  Executor& executor_;
  std::unique_ptr<KVCache> cache_;
  int64_t keeps_;
  std::vector<Held> held_;     // by sequence
  std::deque<int64_t> ended_;  // those that are kept, the oldest first
};

}  // namespace continuo
