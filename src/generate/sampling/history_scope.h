// Which tokens a penalty looks at, and how often each occurs there. End-of-sequence and special
// tokens are exempt unless asked for: penalising them makes completions run on.
#pragma once

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "core/config/config.h"
#include "generate/sampling/stage.h"

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

// How often each token of the scope occurs. Remembers what it counted: a token more costs one
// search, however long the history. Any history may follow any other; what they do not have in
// common is counted anew.
class TokenCounter {
 public:
  // Afterwards `ids` and `counts` hold the distinct tokens that are not exempt, ascending.
  void count(const HistoryScope& scope, const StageContext& context) {
    const auto tokens = scope.tokens(context);
    const size_t shared = static_cast<size_t>(
        std::mismatch(counted_.begin(), counted_.end(), tokens.begin(), tokens.end()).first -
        counted_.begin());
    if (shared < counted_.size() / 2) {
      counted_.clear();
      ids_.clear();
      counts_.clear();
      return extend(scope, context, tokens);
    }
    for (; counted_.size() > shared; counted_.pop_back()) add(counted_.back(), -1);
    extend(scope, context, tokens);
  }
  std::span<const TokenId> ids() const { return ids_; }
  std::span<const int64_t> counts() const { return counts_; }

 private:
  void extend(const HistoryScope& scope, const StageContext& context,
              std::span<const TokenId> tokens) {
    for (const TokenId id : tokens.subspan(counted_.size())) {
      counted_.push_back(id);
      if (!add(id, 1) && !scope.exempts(id, context)) insert(id);
    }
  }
  // Whether the token is among the distinct ones.
  bool add(TokenId id, int64_t times) {
    const auto it = std::lower_bound(ids_.begin(), ids_.end(), id);
    if (it == ids_.end() || *it != id) return false;
    const auto count = counts_.begin() + (it - ids_.begin());
    *count += times;
    if (*count == 0) {
      ids_.erase(it);
      counts_.erase(count);
    }
    return true;
  }
  void insert(TokenId id) {
    const auto it = std::lower_bound(ids_.begin(), ids_.end(), id);
    counts_.insert(counts_.begin() + (it - ids_.begin()), 1);
    ids_.insert(it, id);
  }

  std::vector<TokenId> counted_, ids_;
  std::vector<int64_t> counts_;  // beside ids_
};

}  // namespace continuo
