// DRY, "don't repeat yourself": a token that would extend a repeat of the text's end by one loses
// multiplier · base^(match − allowed), match being the length of the longest such repeat. No match
// runs across a breaker token, and breakers are never penalised.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/config.h"
#include "generate/history_scope.h"
#include "generate/stage.h"

namespace continuo {

struct DryParams : HistoryScope {
  DryParams() { scope = Scope::kAll; }

  double multiplier = 0.8;
  double base = 1.75;
  int64_t allowed_length = 2;
  std::vector<std::string> breakers = {"\n", ":", "\"", "*"};
};
inline void fields(FieldVisitor& v, DryParams& c) {
  v.field("multiplier", c.multiplier, "Penalty of the shortest repeat that is penalised; 0 is off.",
          Range::at_least(0));
  v.field("base", c.base, "Growth of the penalty with every further token.", Range::at_least(1));
  v.field("allowed_length", c.allowed_length, "Repeats shorter than this many tokens are free.",
          Range::at_least(1));
  v.field("breakers", c.breakers, "A token with one of these texts in it ends every repeat.");
  scope_fields(v, c);
}

// z[i]: how many tokens the text and the text without its last i tokens have in common at their
// ends (the Z algorithm from the right). O(n).
inline std::vector<size_t> common_suffixes(std::span<const TokenId> text) {
  const size_t n = text.size();
  auto at = [&](size_t i) { return text[n - 1 - i]; };
  std::vector<size_t> z(n);
  size_t left = 0, right = 0;
  for (size_t i = 1; i < n; ++i) {
    if (i < right) z[i] = std::min(right - i, z[i - left]);
    while (i + z[i] < n && at(z[i]) == at(i + z[i])) ++z[i];
    if (i + z[i] > right) left = i, right = i + z[i];
  }
  return z;
}

class Dry : public StageBase<Dry, DryParams> {
 public:
  using StageBase::StageBase;

  void apply(Candidates& row, const StageContext& context) override {
    if (params_.multiplier == 0) return;
    const auto text = params_.tokens(context);
    const size_t n = text.size();
    // A repeat cannot be longer than the run of tokens since the last breaker.
    size_t run = 0;
    while (run < n && !is_breaker(text[n - 1 - run], context.vocabulary)) ++run;
    if (run == 0) return;
    const std::vector<size_t> common = common_suffixes(text);
    std::unordered_map<TokenId, size_t> longest;
    for (size_t i = 1; i < n; ++i) {
      const size_t match = std::min(common[i], run);
      if (match < static_cast<size_t>(params_.allowed_length)) continue;
      size_t& best = longest[text[n - i]];  // the token that followed that occurrence
      best = std::max(best, match);
    }
    for (const auto& [id, match] : longest) {
      if (is_breaker(id, context.vocabulary) || params_.exempts(id, context)) continue;
      const double excess =
          static_cast<double>(match) - static_cast<double>(params_.allowed_length);
      const double penalty =
          std::min(kLargest, params_.multiplier * std::pow(params_.base, excess));
      row.map_token(id, [&](double l) { return l - penalty; });
    }
  }

 private:
  static constexpr double kLargest = 1e6;  // keeps logits finite however long the repeat

  bool is_breaker(TokenId id, const Vocabulary& vocabulary) {
    auto [entry, fresh] = is_breaker_.try_emplace(id, false);
    if (fresh && vocabulary.token_bytes) {
      const std::string bytes = vocabulary.token_bytes(id);
      entry->second = std::any_of(
          params_.breakers.begin(), params_.breakers.end(), [&](const std::string& breaker) {
            return !breaker.empty() && bytes.find(breaker) != std::string::npos;
          });
    }
    return entry->second;
  }

  std::unordered_map<TokenId, bool> is_breaker_;  // answers so far
};

}  // namespace continuo
