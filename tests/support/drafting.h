// Drafters and comparisons for tests of speculative decoding.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/random.h"
#include "generate/draft/drafter.h"
#include "generate/generator.h"
#include "support/generation_of.h"

namespace continuo::test {

// Knows what will be drawn and proposes it, `length` tokens at a time, each of them wrong with the
// given probability.
class OracleDrafter final : public Drafter {
 public:
  OracleDrafter(const GenerationResult& plain, int64_t length, double wrong)
      : plain_(plain.completions), length_(length), wrong_(wrong) {}

  std::vector<std::vector<TokenId>> draft(std::span<const DraftQuery> queries) override {
    std::vector<std::vector<TokenId>> drafts;
    for (const DraftQuery& query : queries) {
      live[query.sequence] = true;
      const auto& tokens = plain_.at(static_cast<size_t>(query.sequence)).tokens;
      std::vector<TokenId> draft;
      for (size_t at = query.history.size() - query.prompt_length;
           static_cast<int64_t>(draft.size()) < length_; ++at) {
        if (static_cast<int64_t>(draft.size()) == query.limit) break;
        const bool wrong = at >= tokens.size() || noise_.uniform(calls_++) < wrong_;
        draft.push_back(wrong ? static_cast<TokenId>(noise_.uniform(calls_++) * 30)
                              : tokens[at].id);
      }
      drafts.push_back(std::move(draft));
    }
    return drafts;
  }
  void learn(int64_t, int64_t accepted_now, bool rejected) override {
    accepted += accepted_now;
    rejections += rejected;
  }
  void forget(int64_t sequence) override { live.erase(sequence); }

  int64_t accepted = 0, rejections = 0;
  std::map<int64_t, bool> live;  // sequences that were drafted for and not forgotten

 private:
  std::vector<Completion> plain_;
  int64_t length_;
  double wrong_;
  uint64_t calls_ = 0;
  Random noise_{3, "oracle"};
};

// Empty where two results are the same in every token, probability, byte and reason; else the first
// difference.
inline std::string difference(const GenerationResult& a, const GenerationResult& b) {
  if (a.completions.size() != b.completions.size()) return "another number of completions";
  for (size_t i = 0; i < a.completions.size(); ++i) {
    const Completion &x = a.completions[i], &y = b.completions[i];
    for (size_t t = 0; t < std::min(x.tokens.size(), y.tokens.size()); ++t) {
      const GeneratedToken &p = x.tokens[t], &q = y.tokens[t];
      if (p.id != q.id || p.logprob != q.logprob || p.sampled_logprob != q.sampled_logprob) {
        return fmt::format("completion {}, token {}: {} ({}) and {} ({})", i, t, p.id, p.logprob,
                           q.id, q.logprob);
      }
    }
    if (x.tokens.size() != y.tokens.size() || x.reason != y.reason ||
        x.text_bytes != y.text_bytes || x.stop_token != y.stop_token ||
        x.stop_offset != y.stop_offset || x.stop_string != y.stop_string) {
      return fmt::format("completion {}: {} tokens, {} and {} tokens, {}", i, x.tokens.size(),
                         name(x.reason), y.tokens.size(), name(y.reason));
    }
  }
  return {};
}

}  // namespace continuo::test
