// How often drafted tokens are accepted, learnt while generating, and how many are worth looking
// at.
#pragma once

#include <cstdint>

#include "nn/pass_time.h"

namespace continuo {

// The share of drafted tokens that are accepted where those before them were. Old observations
// fade.
class AcceptanceRate {
 public:
  // Begins with `prior`, worth as much as a few observations.
  explicit AcceptanceRate(double prior) : prior_(prior) {}

  void observe(int64_t accepted, bool rejected);
  // A draft was not made because of this rate: it slowly returns to the prior, so that it is tried
  // again.
  void rest();
  double value() const;

 private:
  double prior_, hits_ = 0, misses_ = 0;
};

// What drafts cost: a pass over `live` sequences with k drafted tokens each, as a share of a pass
// without any.
struct DraftCost {
  PassTime time;
  int64_t live = 1;

  double operator()(int64_t k) const { return time(live * (1 + k)) / time(live); }
};

// The number of drafted tokens in [0, limit] with the most tokens for their cost: with k of them a
// pass gives (1 − rate^(k+1)) / (1 − rate) tokens on average (Leviathan et al., arXiv:2211.17192,
// equation 1).
int64_t best_draft_length(double rate, const DraftCost& cost, int64_t limit);

}  // namespace continuo
