#include "generate/draft/prompt_lookup.h"

#include <algorithm>
#include <bit>

namespace continuo {
namespace {

// Matches of 1, 2, 3, 4–5, 6–8, 9–16 and more tokens have a rate each.
constexpr size_t kBounds[] = {1, 2, 3, 5, 8, 16, RepeatIndex::kLongest};
constexpr double kPriors[] = {0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9};

size_t rate_of(size_t length) {
  return static_cast<size_t>(std::ranges::lower_bound(kBounds, length) - std::begin(kBounds));
}

// What followed the match; where that reaches the end of the history it goes on with itself, as a
// loop does.
std::vector<TokenId> follow(std::span<const TokenId> history, size_t next, int64_t count) {
  std::vector<TokenId> tokens;
  for (auto i = static_cast<size_t>(0); i < static_cast<size_t>(count); ++i) {
    const size_t at = next + i;
    tokens.push_back(at < history.size() ? history[at] : tokens[at - history.size()]);
  }
  return tokens;
}

}  // namespace

PromptLookup::PromptLookup(int64_t shortest)
    : shortest_(static_cast<size_t>(shortest)), rates_(std::begin(kPriors), std::end(kPriors)) {}

std::vector<std::vector<TokenId>> PromptLookup::draft(std::span<const DraftQuery> queries) {
  std::vector<std::vector<TokenId>> drafts(queries.size());
  for (size_t i = 0; i < queries.size(); ++i) {
    const DraftQuery& query = queries[i];
    State& state = states_.try_emplace(query.sequence, State{RepeatIndex(shortest_)}).first->second;
    const auto match = state.index.find(query.history);
    if (!match || query.limit == 0) continue;
    state.rate = rate_of(match->length);
    AcceptanceRate& rate = rates_[state.rate];
    const int64_t count = best_draft_length(rate.value(), query.cost, query.limit);
    if (count == 0) rate.rest();
    drafts[i] = follow(query.history, match->next, count);
  }
  return drafts;
}

void PromptLookup::learn(int64_t sequence, int64_t accepted, bool rejected) {
  rates_[states_.at(sequence).rate].observe(accepted, rejected);
}

}  // namespace continuo
