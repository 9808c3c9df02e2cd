// A row of logits of which only the most probable tokens are known, as a device hands it over
// without the rest. It answers what these decide for certain, with the answers of the whole row;
// for anything else it throws NeedsWholeRow, and whoever shapes the row begins anew with all of it.
// Of the other tokens it knows that none has a higher logit than `bound`, and between which two
// values Σ e^logit of them lies.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "generate/sampling/candidate.h"

namespace continuo {

// What a device says of a row.
struct TopLogits {
  std::vector<Candidate> items;  // all tokens with logit > bound, in id order
  double bound = 0;              // −inf where there are no others
  double log_sum = 0;            // log Σ e^logit of the vocabulary, within 1e-5
  double raw_log_sum = 0;        // the same with the rows that a head has beyond it
  size_t size = 0;               // tokens of the vocabulary

  // log-softmax of the row at one of the items.
  double raw_logprob(TokenId token) const;
};

struct NeedsWholeRow {};

class PartialRow {
 public:
  void reset(const TopLogits& top);

  size_t size() const { return size_; }  // at most so many tokens
  const Candidate& best() const;
  // The k most probable, tokens with logit ≥ bar, and the smallest set with probability ≥ mass in
  // the order of |logit − center|, at least `min_keep`: all in id order, k < size.
  std::vector<Candidate> top(size_t k) const;
  std::vector<Candidate> at_least(double bar) const;
  std::vector<Candidate> nearest(double center, double mass, size_t min_keep) const;

  // logit = f(index, logit) for ids[index]; f does not fall where the logit rises.
  void edit(std::span<const TokenId> ids, const std::function<double(size_t, double)>& f);
  void divide(double t);

 private:
  std::vector<Candidate> items_;  // in id order; −inf: removed
  double bound_ = 0;
  // Σ e^(logit − reference) of the others, at least and at most.
  double reference_ = 0, least_ = 0, most_ = 0;
  size_t size_ = 0;
};

}  // namespace continuo
