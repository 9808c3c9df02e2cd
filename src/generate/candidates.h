// The row that sampler stages shape: the tokens that may still be drawn, with their logits, always
// in id order. A token with logit −inf is not in the row, so every logit here is finite and sums
// need no special cases. Ties rank the lower id first everywhere. Sums are in double.
// Knows no stage and no randomness.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "generate/vocabulary.h"

namespace continuo {

struct Candidate {
  TokenId id = 0;
  double logit = 0;
};

// True where `a` is more probable than `b`; of equals the lower id is.
inline bool ranks_before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

class Candidates {
 public:
  Candidates() = default;
  explicit Candidates(std::span<const float> logits) { reset(logits); }
  // Any finite rows in id order; for tests and for rows that are not dense.
  explicit Candidates(std::vector<Candidate> items);

  // All tokens of a row of logits; the memory of the row before is used again.
  // Error: NaN, +inf, nothing but −inf.
  void reset(std::span<const float> logits);

  size_t size() const { return items_.size(); }
  bool empty() const { return items_.empty(); }
  const Candidate& operator[](size_t i) const { return items_[i]; }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

  // The most probable token.
  const Candidate& best() const;
  // Softmax of the row, beside its items; kept until the row changes.
  const std::vector<double>& probabilities() const;
  // log Σ exp(logit).
  double log_sum() const;
  // −Σ p ln p in nats.
  double entropy() const;

  // Keeps candidate i where keep(i).
  template <class Keep>
  void keep_if(Keep keep) {
    size_t kept = 0;
    for (size_t i = 0; i < items_.size(); ++i) {
      if (keep(i)) items_[kept++] = items_[i];
    }
    if (kept != items_.size()) changed();
    items_.resize(kept);
  }
  // The k most probable, exactly; no-op for k ≥ size. O(size + k log k).
  void keep_top(size_t k);
  // The smallest set with probability ≥ mass, taken in ascending order of `score` (beside the
  // items, ≥ 0; ties: lower id first); at least `min_keep`. Sorts only what is near the front.
  void keep_until_mass(std::span<const double> score, double mass, size_t min_keep);
  // Removes the ids, which are ascending.
  void remove(std::span<const TokenId> ids);

  // logit = f(logit) for every token.
  template <class F>
  void map(F f) {
    for (Candidate& c : items_) c.logit = f(c.logit);
    changed();
  }
  // logit = f(logit) for one token; nothing happens when it is not in the row. −inf removes it.
  template <class F>
  void map_token(TokenId id, F f) {
    if (Candidate* c = find(id)) set(*c, f(c->logit));
  }

 private:
  Candidate* find(TokenId id);
  void set(Candidate& c, double logit);
  void changed() { softmax_valid_ = best_valid_ = false; }
  void softmax() const;

  std::vector<Candidate> items_;
  mutable std::vector<double> probabilities_;
  mutable double log_sum_ = 0;
  mutable size_t best_ = 0;
  mutable bool softmax_valid_ = false, best_valid_ = false;
};

}  // namespace continuo
