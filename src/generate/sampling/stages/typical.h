// Locally typical sampling (Meister et al., arXiv 2202.00666): tokens in the order of how far their
// surprise −ln p is from the row's entropy, until they hold the mass. It may drop the most
// probable.
#pragma once

#include "core/config/config.h"
#include "generate/sampling/stage.h"

namespace continuo {

struct TypicalParams {
  double p = 0.95;
  int64_t min_keep = 1;
};
inline void fields(FieldVisitor& v, TypicalParams& c) {
  v.field("p", c.p, "Probability to keep, the most typical first; 1 keeps all.",
          Range::between(0, 1));
  v.field("min_keep", c.min_keep, "Keep at least so many tokens.", Range::at_least(1));
}

class Typical : public StageBase<Typical, TypicalParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext&) override {
    if (params_.p >= 1) return;
    const double expected = row.log_sum() - row.entropy();  // −ln p = H ⇔ logit = this
    row.keep_nearest(expected, params_.p, static_cast<size_t>(params_.min_keep));
  }
};

}  // namespace continuo
