// Bans every token that would complete an n-gram seen before, the prompt included.
#pragma once

#include <algorithm>
#include <vector>

#include "core/config/config.h"
#include "generate/sampling/history_scope.h"
#include "generate/sampling/stage.h"

namespace continuo {

struct NoRepeatNgramParams : HistoryScope {
  NoRepeatNgramParams() { scope = Scope::kAll; }

  int64_t n = 3;
};
inline void fields(FieldVisitor& v, NoRepeatNgramParams& c) {
  v.field("n", c.n, "Length of the n-grams in tokens; 0 is off.", Range::at_least(0));
  scope_fields(v, c);
}

class NoRepeatNgram : public StageBase<NoRepeatNgram, NoRepeatNgramParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext& context) override {
    const auto text = params_.tokens(context);
    const size_t n = static_cast<size_t>(params_.n);
    if (n == 0 || text.size() < n) return;
    const auto prefix = text.last(n - 1);
    std::vector<TokenId> banned;
    for (size_t start = 0; start + n <= text.size(); ++start) {
      const TokenId last = text[start + n - 1];
      if (std::equal(prefix.begin(), prefix.end(), text.begin() + static_cast<long>(start)) &&
          !params_.exempts(last, context)) {
        banned.push_back(last);
      }
    }
    std::sort(banned.begin(), banned.end());
    row.remove(banned);
  }
};

}  // namespace continuo
