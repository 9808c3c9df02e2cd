// An executor together with the keys and values of the sequences that it continues: token ids in,
// logits out. What a generator and a draft model have in common. May keep the sequence that ended
// last, so that the next one need not compute a beginning that both share.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "generate/sampling/vocabulary.h"
#include "nn/executor.h"

namespace continuo {

class CachedDecoder {
 public:
  enum class Keeps { kNothing, kLastSequence };
  // `executor` outlives this.
  explicit CachedDecoder(Executor& executor, Keeps keeps = Keeps::kNothing);

  // A sequence that is to hold `tokens`, computed with an adapter → its id. `length` may be above
  // 0: what of the kept sequence is a beginning of `tokens`, the last token left out, whose logits
  // are yet to be asked for.
  int64_t begin(std::span<const TokenId> tokens, int64_t adapter = kNoAdapter);
  int64_t fork(int64_t sequence);
  int64_t length(int64_t sequence) const { return cache_->length(sequence); }
  // → the length that is held now, at most the one asked for (KVCache::truncate).
  int64_t truncate(int64_t sequence, int64_t length) { return cache_->truncate(sequence, length); }
  // Ends a sequence. `tokens` are what it holds and perhaps more.
  void end(int64_t sequence, std::span<const TokenId> tokens);
  void drop(int64_t sequence) { cache_->remove(sequence); }

  // New tokens of one sequence, and of how many of the last of them the logits are wanted.
  struct Piece {
    int64_t sequence;
    std::span<const TokenId> tokens;
    int64_t wanted = 1;
  };
  // Appends all pieces in one pass → [wanted in all, vocabulary] float32 on the CPU.
  at::Tensor run(std::span<const Piece> pieces);
  // Appends tokens, at most `chunk` a pass.
  void append(int64_t sequence, std::span<const TokenId> tokens, int64_t chunk);
  // The same → [1, vocabulary], the logits after the last of them.
  at::Tensor prefill(int64_t sequence, std::span<const TokenId> tokens, int64_t chunk);

  PassTime pass_time() const { return executor_.pass_time(); }
  // Time of a pass over one row in a unit that all executors of a device have in common.
  double pass_cost() const { return static_cast<double>(executor_.weight_bytes()); }

  const ModelSpec& spec() const { return executor_.spec(); }
  int64_t bytes() const { return cache_->bytes(); }

 private:
  Executor& executor_;
  std::unique_ptr<KVCache> cache_;
  Keeps keeps_;
  std::vector<int64_t> adapters_;  // by sequence
  int64_t kept_ = -1;              // id of the sequence that ended last
  std::vector<TokenId> kept_tokens_;
};

}  // namespace continuo
