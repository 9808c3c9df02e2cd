// XTC, exclude top choices: with some probability, when at least two tokens reach the threshold,
// all of them but the least probable go. End-of-sequence tokens are neither counted nor removed
// unless the guard is off: a completion must stay able to end.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/config/config.h"
#include "generate/sampling/stage.h"

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
    std::vector<Candidate> top = row.at_least(row.log_sum() + std::log(params_.threshold));
    std::erase_if(top, [&](const Candidate& c) {
      return params_.guard_eos && context.vocabulary.is_eos(c.id);
    });
    if (top.size() < 2) return;
    const TokenId least = std::max_element(top.begin(), top.end(), ranks_before)->id;
    std::vector<TokenId> excluded;
    for (const Candidate& c : top) {
      if (c.id != least) excluded.push_back(c.id);
    }
    row.remove(excluded);
  }
};

}  // namespace continuo
