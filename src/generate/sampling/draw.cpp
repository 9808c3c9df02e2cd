#include "generate/sampling/draw.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>

#include "nn/cpu/kernels/kernels.h"

namespace continuo {
namespace {

double gumbel(double u) { return -std::log(-std::log(u)); }

// Noise above `needed` takes u > exp(−exp(−needed)) > 1 − exp(−needed). Looks at the exponent of
// 1 − u alone: never says no wrongly, and spares two logarithms for all but a few tokens.
bool may_exceed(double u, double needed) {
  const double rest = 1 - u;
  const int exponent = static_cast<int>(std::bit_cast<uint64_t>(rest) >> 52) - 1023;
  return exponent * std::numbers::ln2 <= -needed + 1e-9;
}

// The token with the highest logit + noise among those that were offered. Beginning with the most
// probable one sets the bar so high that most others are done with one comparison.
class Race {
 public:
  Race(const Candidate& top, const Noise& noise, uint64_t position)
      : noise_(noise), position_(position), top_(top.id), winner_(top) {
    bar_ = top.logit + gumbel(noise.token_uniform(position, top.id));
  }

  void offer(const Candidate& c) {
    constexpr double kLargestGumbel = 36.75;  // of the largest uniform, 1 − 2^−53
    const double needed = bar_ - c.logit;
    if (needed > kLargestGumbel || c.id == top_) return;
    if (c.id >> 1 != block_of_) {
      block_of_ = c.id >> 1;
      block_ = noise_.token_block(position_, c.id);
    }
    const double u = Random::to_uniform_open(block_[c.id & 1]);
    if (!may_exceed(u, needed)) return;
    const double value = c.logit + gumbel(u);
    if (value > bar_ || (value == bar_ && c.id < winner_.id)) {
      bar_ = value;
      winner_ = c;
    }
  }

  const Candidate& winner() const { return winner_; }
  double bar() const { return bar_; }

 private:
  const Noise& noise_;
  uint64_t position_;
  TokenId top_;
  Candidate winner_;
  double bar_ = 0;
  TokenId block_of_ = -1;
  std::array<uint64_t, 2> block_{};
};

}  // namespace

Drawn draw(const Candidates& row, const Noise& noise, uint64_t position) {
  const Candidate top = row.best();
  if (row.size() == 1) return {top.id, 0.0};
  Race race(top, noise, position);
  if (const DenseRow* dense = row.dense()) {
    for (TokenId from = 0; from < dense->end_id(); from += DenseRow::kDrawSpan) {
      for (const Candidate& c : dense->contenders(from, race.bar(), noise, position)) race.offer(c);
    }
  } else {
    for (const Candidate& c : row) race.offer(c);
  }
  return {race.winner().id, race.winner().logit - row.log_sum()};
}

double raw_logprob(std::span<const float> logits, TokenId token) {
  const float max = *std::max_element(logits.begin(), logits.end());
  const double sum =
      kernels().row.exp_sums(static_cast<int64_t>(logits.size()), logits.data(), max, 1, false).sum;
  return logits[static_cast<size_t>(token)] - (max + std::log(sum));
}

}  // namespace continuo
