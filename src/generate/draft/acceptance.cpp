#include "generate/draft/acceptance.h"

#include <algorithm>

namespace continuo {
namespace {

constexpr double kPriorWeight = 2;
constexpr double kMemory = 0.95;  // an observation counts half after 13 further ones
constexpr double kRestMemory = 0.985;

}  // namespace

void AcceptanceRate::observe(int64_t accepted, bool rejected) {
  for (int64_t i = 0; i < accepted; ++i) {
    hits_ = kMemory * hits_ + 1;
    misses_ *= kMemory;
  }
  if (rejected) {
    hits_ *= kMemory;
    misses_ = kMemory * misses_ + 1;
  }
}

void AcceptanceRate::rest() {
  hits_ *= kRestMemory;
  misses_ *= kRestMemory;
}

double AcceptanceRate::value() const {
  return (hits_ + kPriorWeight * prior_) / (hits_ + misses_ + kPriorWeight);
}

int64_t best_draft_length(double rate, const DraftCost& cost, int64_t limit) {
  rate = std::clamp(rate, 0.0, 1.0);
  double tokens = 1, next = rate, best = 1;
  int64_t length = 0;
  for (int64_t k = 1; k <= limit; ++k, next *= rate) {
    tokens += next;
    const double gain = tokens / cost(k);
    if (gain > best) {
      best = gain;
      length = k;
    }
  }
  return length;
}

}  // namespace continuo
