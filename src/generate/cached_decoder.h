// A decoder together with the keys and values of the sequences that it continues: token ids in,
// hidden states and logits out. What a generator and a draft model have in common. May keep the
// sequence that ended last, so that the next one need not compute a beginning that both share.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "generate/draft/acceptance.h"
#include "generate/sampling/vocabulary.h"
#include "nn/decoder.h"

namespace continuo {

class CachedDecoder {
 public:
  enum class Keeps { kNothing, kLastSequence };
  // `decoder` outlives this.
  explicit CachedDecoder(Decoder& decoder, Keeps keeps = Keeps::kNothing);

  // A sequence that is to hold `tokens` → its id. `length` may be above 0: what of the kept
  // sequence is a beginning of `tokens`, the last token left out, whose hidden state is yet to be
  // asked for.
  int64_t begin(std::span<const TokenId> tokens);
  int64_t fork(int64_t sequence) { return cache_.fork(sequence); }
  int64_t length(int64_t sequence) const { return cache_.length(sequence); }
  void truncate(int64_t sequence, int64_t length) { cache_.truncate(sequence, length); }
  // Ends a sequence. `tokens` are what it holds and perhaps more.
  void end(int64_t sequence, std::span<const TokenId> tokens);
  void drop(int64_t sequence) { cache_.remove(sequence); }

  // New tokens of one sequence.
  struct Piece {
    int64_t sequence;
    std::span<const TokenId> tokens;
  };
  // Appends all pieces in one pass → [N, hidden], N tokens in all.
  at::Tensor forward(std::span<const Piece> pieces);
  // Appends tokens, at most `chunk` a pass → [1, hidden] of the last one.
  at::Tensor prefill(int64_t sequence, std::span<const TokenId> tokens, int64_t chunk);
  at::Tensor logits(const at::Tensor& hidden);  // [M, hidden] → [M, vocabulary] float32 on the CPU

  PassTime pass_time() const;
  // Time of a pass over one row in a unit that all decoders have in common.
  double pass_cost() const;

  const DecoderShape& shape() const { return decoder_.shape(); }
  int64_t bytes() const { return cache_.bytes(); }

 private:
  Decoder& decoder_;
  KVCache cache_;
  Keeps keeps_;
  int64_t kept_ = -1;  // id of the sequence that ended last
  std::vector<TokenId> kept_tokens_;
};

}  // namespace continuo
