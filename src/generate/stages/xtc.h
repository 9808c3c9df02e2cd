// XTC, exclude top choices: with some probability, when at least two tokens reach the threshold,
// all of them but the least probable go. End-of-sequence tokens are neither counted nor removed
// unless the guard is off: a completion must stay able to end.
#pragma once

#include "core/config.h"
#include "generate/stage.h"

namespace continuo {

struct XtcParams {
  double probability = 0.5;
  double threshold = 0.1;
  bool guard_eos = true;
};
inline void fields(FieldVisitor& v, XtcParams& c) {
  v.field("probability", c.probability, "How often the top choices are excluded; 0 never.",
          Range::between(0, 1));
  v.field("threshold", c.threshold, "Probability of a top choice; above 0.5 nothing happens.",
          Range::between(0, 1));
  v.field("guard_eos", c.guard_eos, "Never remove an end-of-sequence token.");
}

class Xtc : public StageBase<Xtc, XtcParams> {
 public:
  using StageBase::StageBase;

  void apply(Candidates& row, const StageContext& context) override {
    if (params_.threshold > 0.5 || context.noise.coin(context.position()) >= params_.probability) {
      return;
    }
    const std::vector<double>& p = row.probabilities();
    auto is_top = [&](size_t i) {
      return p[i] >= params_.threshold &&
             !(params_.guard_eos && context.vocabulary.is_eos(row[i].id));
    };
    std::vector<bool> top(row.size());
    size_t count = 0, least = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      if (!(top[i] = is_top(i))) continue;
      if (count++ == 0 || ranks_before(row[least], row[i])) least = i;
    }
    if (count < 2) return;
    row.keep_if([&](size_t i) { return !top[i] || i == least; });
  }
};

}  // namespace continuo
