// Top-k: exactly the k most probable tokens; of equals the lower ids.
#pragma once

#include "core/config/config.h"
#include "generate/sampling/stage.h"

namespace continuo {

struct TopKParams {
  int64_t k = 40;
};
inline void fields(FieldVisitor& v, TopKParams& c) {
  v.field("k", c.k, "Tokens to keep; 0 keeps all.", Range::at_least(0));
}

class TopK : public StageBase<TopK, TopKParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext&) override {
    if (params_.k > 0) row.keep_top(static_cast<size_t>(params_.k));
  }
};

}  // namespace continuo
