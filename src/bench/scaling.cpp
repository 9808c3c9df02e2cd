#include "bench/scaling.h"

#include <algorithm>

namespace continuo {

StepCost predict_step(const RankFigures& f, double tokens, int64_t ranks) {
  const auto count = static_cast<double>(ranks);
  const double crowd = std::max(1.0, count / f.undisturbed_ranks);
  const double work = crowd * tokens / count * f.seconds_per_token;
  StepCost cost;
  cost.compute = work + crowd * f.update_seconds / (f.shard_optimizer ? count : 1);
  if (ranks == 1) return cost;
  const double bytes = f.exchanges * f.weight_bytes * (count - 1) / count / f.link_bytes_per_s;
  const double messages = f.exchanges * f.buckets * (count - 1) * f.message_seconds;
  const double both = bytes + messages;
  const double waited = both - std::min(f.hidden * both, work);
  const double agreement = (count - 1) * f.message_seconds;
  cost.exchange = waited + agreement;
  cost.messages = waited * messages / both + agreement;
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
