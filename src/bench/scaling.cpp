#include "bench/scaling.h"

#include <algorithm>

namespace continuo {

StepCost predict_step(const RankFigures& f, double tokens, int64_t ranks) {
  constexpr double kBackward = 2.0 / 3;
  constexpr double kAgreements = 3;
  const auto count = static_cast<double>(ranks);
  const double work = tokens / count * f.seconds_per_token;
  StepCost cost;
  cost.compute = work + f.update_seconds / (f.shard_optimizer ? count : 1);
  if (ranks == 1) return cost;
  const double bytes = f.weight_bytes * (count - 1) / count / f.link_bytes_per_s;
  const double messages = f.buckets * (count - 1) * f.message_seconds;
  const double one_way = bytes + messages;
  const double hidden = std::min(f.hidden * one_way, kBackward * work);
  const double agreements = kAgreements * (count - 1) * f.message_seconds;
  cost.exchange = 2 * one_way - hidden + agreements;
  cost.messages = std::max(0.0, 2 * messages + agreements - hidden * messages / one_way);
  return cost;
}

RankFigures scaled(const RankFigures& figures, double factor) {
  RankFigures f = figures;
  f.seconds_per_token *= factor;
  f.update_seconds *= factor;
  f.weight_bytes *= factor;
  f.buckets *= factor;
  return f;
}

}  // namespace continuo
