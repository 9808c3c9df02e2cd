// Greedy: the most probable token; of equals the lowest id.
#pragma once

#include "core/config/config.h"
#include "generate/sampling/stage.h"

namespace continuo {

struct GreedyParams {};
inline void fields(FieldVisitor&, GreedyParams&) {}

class Greedy : public StageBase<Greedy, GreedyParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext&) override { row.keep_top(1); }
};

}  // namespace continuo
