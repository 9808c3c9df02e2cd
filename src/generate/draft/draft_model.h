// Drafts by a second, faster model of the same vocabulary: it draws with the chain and the noise of
// the sequence, so it draws the same token whenever the two models nearly agree. It drafts for all
// sequences together, and for each of them as long as one more token is likely to pay, judged by
// its own confidence and by what was accepted at such confidence.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "generate/cached_decoder.h"
#include "generate/draft/acceptance.h"
#include "generate/draft/drafter.h"

namespace continuo {

class DraftModel final : public Drafter {
 public:
  // `executor` outlives this and numbers tokens as `vocabulary` does; all of it is computed with
  // `adapter`. `prefill_chunk`: tokens of a history in one pass. Error: the model has fewer tokens
  // than the vocabulary.
  DraftModel(Executor& executor, Vocabulary vocabulary, int64_t prefill_chunk = 512,
             int64_t adapter = kNoAdapter);

  std::vector<std::vector<TokenId>> draft(std::span<const DraftQuery> queries) override;
  void learn(int64_t sequence, int64_t accepted, bool rejected) override;
  void forget(int64_t sequence) override;

  int64_t cache_bytes() const { return decoder_.bytes(); }

 private:
  struct State {
    int64_t cache_id = -1;
    std::vector<TokenId> cached;  // what the cache holds: history and perhaps drafted tokens
    // For each token of the last draft the index of its confidence's rate.
    std::vector<size_t> rates;
  };
  class Attempt;  // a draft in the making

  State& state_of(const DraftQuery& query);
  State begin(std::span<const TokenId> history);
  void advance(std::vector<Attempt>& attempts, const std::vector<size_t>& going);

  CachedDecoder decoder_;
  Vocabulary vocabulary_;
  int64_t prefill_chunk_, adapter_;
  std::map<int64_t, State> states_;
  std::vector<AcceptanceRate> rates_;  // by the probability that the draft model gives its token
  AcceptanceRate overall_;
  std::vector<Candidates> scratch_;
};

}  // namespace continuo
