// Which tokens a penalty looks at, and how often each occurs there. End-of-sequence and special
// tokens are exempt unless asked for: penalising them makes completions run on.
#pragma once

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "generate/stage.h"

namespace continuo {

enum class Scope { kCompletion, kWindow, kAll };

inline std::span<const EnumName> enum_names(Scope) {
  static constexpr EnumName kNames[] = {{"completion", static_cast<int>(Scope::kCompletion)},
                                        {"window", static_cast<int>(Scope::kWindow)},
                                        {"all", static_cast<int>(Scope::kAll)}};
  return kNames;
}

struct HistoryScope {
  Scope scope = Scope::kCompletion;
  int64_t window = 64;
  bool exempt_special = true;

  std::span<const TokenId> tokens(const StageContext& context) const {
    if (scope == Scope::kCompletion) return context.completion();
    if (scope == Scope::kAll) return context.history;
    return context.history.last(std::min(context.history.size(), static_cast<size_t>(window)));
  }
  bool exempts(TokenId id, const StageContext& context) const {
    return exempt_special && context.vocabulary.is_special(id);
  }
};

inline void scope_fields(FieldVisitor& v, HistoryScope& c) {
  v.field(
      "scope", c.scope,
      "Tokens looked at: the completion, a window of the last tokens (prompt included), or all.");
  v.field("window", c.window, "Length of `scope: window` in tokens.", Range::at_least(0));
  v.field("exempt_special", c.exempt_special, "Leave end-of-sequence and special tokens alone.");
}

struct TokenCount {
  TokenId id = 0;
  int64_t count = 0;
};

// Distinct tokens of the scope, ascending.
inline std::vector<TokenCount> count_tokens(const HistoryScope& scope,
                                            const StageContext& context) {
  const auto tokens = scope.tokens(context);
  std::vector<TokenId> ids(tokens.begin(), tokens.end());
  std::sort(ids.begin(), ids.end());
  std::vector<TokenCount> counts;
  for (TokenId id : ids) {
    if (!counts.empty() && counts.back().id == id) {
      ++counts.back().count;
    } else if (!scope.exempts(id, context)) {
      counts.push_back({id, 1});
    }
  }
  return counts;
}

}  // namespace continuo
