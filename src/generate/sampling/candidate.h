// A token that may be drawn, with its logit.
#pragma once

#include <limits>

#include "generate/sampling/vocabulary.h"

namespace continuo {

// The logit of a token that cannot be drawn.
inline constexpr double kNever = -std::numeric_limits<double>::infinity();

struct Candidate {
  TokenId id = 0;
  double logit = 0;
};

// True where `a` is more probable than `b`; of equals the lower id is.
inline bool ranks_before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

}  // namespace continuo
