// Drafts by prompt lookup: where the last tokens stood before in prompt or completion, what
// followed then is proposed (Saxena, Prompt Lookup Decoding, 2023). Costs next to nothing and pays
// where a completion repeats its prompt or itself. How long a match must be, and how many tokens
// are proposed, follows from what was accepted so far.
#pragma once

#include <map>
#include <vector>

#include "generate/draft/acceptance.h"
#include "generate/draft/drafter.h"
#include "generate/draft/repeat_index.h"

namespace continuo {

class PromptLookup final : public Drafter {
 public:
  // Matches of at least `shortest` tokens.
  explicit PromptLookup(int64_t shortest);

  std::vector<std::vector<TokenId>> draft(std::span<const DraftQuery> queries) override;
  void learn(int64_t sequence, int64_t accepted, bool rejected) override;
  void forget(int64_t sequence) override { states_.erase(sequence); }

 private:
  struct State {
    RepeatIndex index;
    size_t rate = 0;  // index of the one that the last draft was made by
  };

  size_t shortest_;
  std::map<int64_t, State> states_;
  std::vector<AcceptanceRate> rates_;  // by the length of the match
};

}  // namespace continuo
