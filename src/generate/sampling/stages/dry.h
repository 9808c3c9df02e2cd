// DRY, "don't repeat yourself": a token that would extend a repeat of the text's end by one loses
// multiplier · base^(match − allowed), match being the length of the longest such repeat. No match
// runs across a breaker token, and breakers are never penalised.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/config/config.h"
#include "generate/sampling/history_scope.h"
#include "generate/sampling/stage.h"

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
inline std::vector<uint32_t> common_suffixes(std::span<const TokenId> text) {
  const auto n = static_cast<uint32_t>(text.size());
  auto at = [&](uint32_t i) { return text[n - 1 - i]; };
  std::vector<uint32_t> z(n);
  uint32_t left = 0, right = 0;
  for (uint32_t i = 1; i < n; ++i) {
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
    if (n == 0 || is_breaker(text[n - 1], context.vocabulary)) return;
    const std::vector<uint32_t> common = common_suffixes(text);
    // A repeat cannot be longer than the run of tokens since the last breaker; how long that is
    // beyond the longest repeat does not matter.
    const size_t longest = *std::max_element(common.begin(), common.end());
    if (longest < static_cast<size_t>(params_.allowed_length)) return;
    size_t run = 1;
    while (run < longest && !is_breaker(text[n - 1 - run], context.vocabulary)) ++run;
    std::map<TokenId, size_t> matches;  // of the tokens that followed an occurrence, the longest
    for (size_t i = 1; i < n; ++i) {
      const size_t match = std::min<size_t>(common[i], run);
      if (match < static_cast<size_t>(params_.allowed_length)) continue;
      size_t& best = matches[text[n - i]];
      best = std::max(best, match);
    }
    std::vector<TokenId> ids;
    std::vector<double> penalties;
    for (const auto& [id, match] : matches) {
      if (is_breaker(id, context.vocabulary) || params_.exempts(id, context)) continue;
      const double excess =
          static_cast<double>(match) - static_cast<double>(params_.allowed_length);
      ids.push_back(id);
      penalties.push_back(std::min(kLargest, params_.multiplier * std::pow(params_.base, excess)));
    }
    row.edit(ids, [&](size_t i, double l) { return l - penalties[i]; });
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
