// Top-p, nucleus sampling (Holtzman et al., arXiv 1904.09751): a token stays while the tokens
// ranked above it hold less than p. p = 0 keeps one token, p = 1 all.
#pragma once

#include "core/config/config.h"
#include "generate/sampling/stage.h"

namespace continuo {

struct TopPParams {
  double p = 0.95;
  int64_t min_keep = 1;
};
inline void fields(FieldVisitor& v, TopPParams& c) {
  v.field("p", c.p, "Probability to keep, from the top; 1 keeps all.", Range::between(0, 1));
  v.field("min_keep", c.min_keep, "Keep at least so many tokens.", Range::at_least(1));
}

class TopP : public StageBase<TopP, TopPParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext&) override {
    if (params_.p >= 1) return;
    row.keep_nearest(row.best().logit, params_.p, static_cast<size_t>(params_.min_keep));
  }
};

}  // namespace continuo
