// A row of float logits as the model gave it, before a truncation: nothing is copied and nothing
// sorted. The maxima of blocks of logits say where a search need not look; the few tokens that
// penalties and bans touched stand beside the row; one division (the temperature) is remembered
// instead of carried out. Logits that come out of it are what double arithmetic on every token
// would give; sums over the row are within 2e-6, relative (see nn/cpu/kernels/row.h). The floats
// are borrowed: they must stay where they are until the next `reset`.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "generate/sampling/candidate.h"
#include "generate/sampling/noise.h"

namespace continuo {

// Over the tokens of a row, with d = logit − max ≤ 0.
struct RowSums {
  double max = 0;
  double sum = 0;       // Σ e^d
  double weighted = 0;  // Σ d·e^d

  double log_sum() const;  // log Σ e^logit
  double entropy() const;  // in nats
};

class DenseRow {
 public:
  // Error: NaN, +inf, nothing but −inf.
  void reset(std::span<const float> logits);

  // Tokens in the row: neither −inf nor removed.
  size_t size() const { return size_; }
  // The most probable token; the row is not empty.
  const Candidate& best() const;
  const RowSums& sums() const;
  // log Σ e^logit.
  double log_sum() const;
  // log Σ e^logit of the row as `reset` got it.
  double raw_log_sum() const;
  // Standard deviation of the logits.
  double deviation() const;
  // Some logit that at least k tokens reach, near the k-th highest; −inf where blocks are too few
  // to tell.
  double reached_by(size_t k) const;
  // Tokens with low ≤ logit ≤ high, in id order.
  std::vector<Candidate> between(double low,
                                 double high = std::numeric_limits<double>::infinity()) const;
  // Tokens that may win a Gumbel-max draw: all with logit + noise ≥ bar, and few others, in id
  // order, where the noise is that of `noise` at `position`. `from` is a token id, a multiple of
  // kDrawSpan; only tokens below from + kDrawSpan count.
  static constexpr TokenId kDrawSpan = 4096;
  std::vector<Candidate> contenders(TokenId from, double bar, const Noise& noise,
                                    uint64_t position) const;
  TokenId end_id() const { return static_cast<TokenId>(logits_.size()); }

  // logit = f(index, logit) for ids[index], where the token is in the row; −inf removes it. `ids`
  // ascend without repeats. Error: a logit becomes NaN.
  void edit(std::span<const TokenId> ids, const std::function<double(size_t, double)>& f);
  // logit = logit / t, t > 0 → whether that could be remembered: only one division can.
  bool divide(double t);

 private:
  double scaled(TokenId id) const {
    const double logit = logits_[static_cast<size_t>(id)];
    return divisor_ == 1 ? logit : logit / divisor_;  // divisions would be most of a wide search
  }
  bool is_edited(TokenId id) const;
  float untouched_max() const;
  void refresh_block(size_t block);
  void changed() {
    untouched_max_.reset();
    best_.reset();
    sums_.reset();
  }

  std::span<const float> logits_;
  size_t size_ = 0;
  float raw_max_ = 0;
  double divisor_ = 1;
  std::vector<float> block_max_;                // of the tokens without an edit
  std::vector<Candidate> edited_;               // by id; −inf: removed
  mutable std::vector<TokenId> hits_;           // memory to search in
  mutable std::optional<float> untouched_max_;  // of block_max_
  mutable std::optional<Candidate> best_;
  mutable std::optional<RowSums> sums_;
  mutable std::optional<double> raw_log_sum_;
};

}  // namespace continuo
