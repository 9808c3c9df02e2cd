// The row that sampler stages shape: the tokens that may still be drawn, with their logits, always
// in id order. A token with logit −inf is not in the row, so every logit here is finite and sums
// need no special cases. Ties rank the lower id first everywhere. Sums are in double.
// A whole row of the model stays as it is (DenseRow) until a stage keeps few of its tokens or asks
// for single ones. Of a row on a device it may be that only the most probable tokens are here
// (PartialRow), until a stage keeps no others; what these do not decide throws NeedsWholeRow. Which
// form a row has changes its speed, never its tokens.
// Knows no stage and no randomness.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "generate/sampling/candidate.h"
#include "generate/sampling/dense_row.h"
#include "generate/sampling/partial_row.h"

namespace continuo {

class Candidates {
 public:
  Candidates() = default;
  explicit Candidates(std::span<const float> logits) { reset(logits); }
  // Any finite rows in id order; for tests and for rows that are not dense.
  explicit Candidates(std::vector<Candidate> items);

  // All tokens of a row of logits, which is borrowed until the next `reset`; the memory of the row
  // before is used again. Error: NaN, +inf, nothing but −inf.
  void reset(std::span<const float> logits);
  // The same of a row whose other tokens are elsewhere.
  void reset(const TopLogits& top);

  // Of a partial row at most so many.
  size_t size() const {
    return is_dense() ? dense_.size() : is_partial() ? partial_.size() : items_.size();
  }
  bool empty() const { return size() == 0; }
  const Candidate& operator[](size_t i) const { return items()[i]; }
  auto begin() const { return items().begin(); }
  auto end() const { return items().end(); }

  // The row while nothing has truncated it, otherwise nullptr.
  const DenseRow* dense() const { return is_dense() ? &dense_ : nullptr; }
  // log Σ exp(logit) of the whole row as the last `reset` got it.
  double raw_log_sum() const { return dense_.raw_log_sum(); }

  // The most probable token.
  const Candidate& best() const;
  // Softmax of the row, beside its items; kept until the row changes.
  const std::vector<double>& probabilities() const;
  // log Σ exp(logit).
  double log_sum() const;
  // −Σ p ln p in nats.
  double entropy() const;
  // Standard deviation of the logits.
  double deviation() const;
  // Tokens with logit ≥ bar, in id order.
  std::vector<Candidate> at_least(double bar) const;

  // The k most probable, exactly; no-op for k ≥ size. O(size + k log k).
  void keep_top(size_t k);
  // Logits ≥ cutoff, and the `min_keep` most probable in any case.
  void keep_above(double cutoff, size_t min_keep);
  // The smallest set with probability ≥ mass, taken in the order of |logit − center| (ties: lower
  // id first); at least `min_keep`.
  void keep_nearest(double center, double mass, size_t min_keep);
  // Removes the ids, which are ascending.
  void remove(std::span<const TokenId> ids);

  // logit = logit / t for every token, t > 0.
  void divide(double t);
  // logit = f(index, logit) for ids[index], where the token is in the row. −inf removes it. `ids`
  // ascend without repeats; f does not fall where the logit rises. Error: a logit becomes NaN.
  template <class F>
  void edit(std::span<const TokenId> ids, F f) {
    if (is_dense()) return dense_.edit(ids, f);
    if (is_partial()) return partial_.edit(ids, f);
    auto it = items_.begin();
    for (size_t i = 0; i < ids.size(); ++i) {
      it = std::lower_bound(it, items_.end(), ids[i],
                            [](const Candidate& c, TokenId id) { return c.id < id; });
      if (it != items_.end() && it->id == ids[i]) it->logit = f(i, it->logit);
    }
    drop_removed();
  }

 private:
  enum class Form { list, dense, partial };
  bool is_dense() const { return form_ == Form::dense; }
  bool is_partial() const { return form_ == Form::partial; }
  const std::vector<Candidate>& items() const;
  template <class Keep>
  void keep_if(Keep keep);
  void become(std::vector<Candidate> items);
  void drop_removed();
  void changed() { softmax_valid_ = best_valid_ = false; }
  void softmax() const;

  DenseRow dense_;
  PartialRow partial_;
  mutable std::vector<Candidate> items_;  // of a dense row: only when somebody asked for them
  mutable Form form_ = Form::list;
  mutable std::vector<double> probabilities_;
  mutable double log_sum_ = 0;
  mutable size_t best_ = 0;
  mutable bool softmax_valid_ = false, best_valid_ = false;
};

}  // namespace continuo
