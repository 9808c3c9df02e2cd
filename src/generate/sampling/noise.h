// The randomness of one sequence: a pure function of (seed, sequence, sample, position, token id).
// It depends neither on the batch, nor on threads, nor on what was drawn before.
#pragma once

#include <cstdint>

#include "core/random.h"
#include "generate/sampling/vocabulary.h"

namespace continuo {

class Noise {
 public:
  // `sequence` names the prompt (its index unless the caller gives a key), `sample` the completion.
  Noise(uint64_t seed, uint64_t sequence, uint64_t sample)
      : Noise(Random(seed, "generate").bits(sequence, sample)) {}

  // Two tokens share one Philox block: the noise of `token` is half `token & 1` of this.
  std::array<uint64_t, 2> token_block(uint64_t position, TokenId token) const {
    return tokens_.block(position, static_cast<uint64_t>(token) >> 1);
  }
  // Of the generator behind `token_block`, for kernels that make many blocks at once.
  PhiloxKey token_key() const { return tokens_.key(); }
  // In (0, 1).
  double token_uniform(uint64_t position, TokenId token) const {
    return Random::to_uniform_open(token_block(position, token)[token & 1]);
  }
  // In [0, 1): one value a position for stages that toss a coin.
  double coin(uint64_t position) const { return coins_.uniform(position); }

 private:
  explicit Noise(uint64_t stream) : tokens_(stream, "tokens"), coins_(stream, "coins") {}

  Random tokens_;
  Random coins_;
};

}  // namespace continuo
