#include "generate/draw.h"

#include <bit>
#include <cmath>
#include <numbers>

#include "generate/fast_exp.h"

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

}  // namespace

Drawn draw(const Candidates& row, const Noise& noise, uint64_t position) {
  const Candidate top = row.best();
  if (row.size() == 1) return {top.id, 0.0};
  // Beginning with the most probable token sets the bar so high that most others are done with
  // one comparison.
  Candidate winner = top;
  double bar = top.logit + gumbel(noise.token_uniform(position, top.id));
  constexpr double kLargestGumbel = 36.75;  // of the largest uniform, 1 − 2^−53
  int64_t block_of = -1;
  std::array<uint64_t, 2> block{};
  for (const Candidate& c : row) {
    const double needed = bar - c.logit;
    if (needed > kLargestGumbel || c.id == top.id) continue;
    if (c.id >> 1 != block_of) {
      block_of = c.id >> 1;
      block = noise.token_block(position, c.id);
    }
    const double u = Random::to_uniform_open(block[c.id & 1]);
    if (!may_exceed(u, needed)) continue;
    const double value = c.logit + gumbel(u);
    if (value > bar || (value == bar && c.id < winner.id)) {
      bar = value;
      winner = c;
    }
  }
  return {winner.id, winner.logit - row.log_sum()};
}

double raw_logprob(std::span<const float> logits, TokenId token) {
  const float max = max_of(logits);
  return logits[static_cast<size_t>(token)] - (max + std::log(exp_sum(logits, max)));
}

}  // namespace continuo
