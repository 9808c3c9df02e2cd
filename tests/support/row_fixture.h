// Rows, contexts and stages for tests of sampling; and a slow softmax that shares nothing with the
// code under test.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/random.h"
#include "generate/sampling/sampler_chain.h"

namespace continuo::test {

using Row = std::map<TokenId, double>;  // id → logit

inline std::vector<TokenId> ids_of(const Candidates& row) {
  std::vector<TokenId> ids;
  for (const Candidate& c : row) ids.push_back(c.id);
  return ids;
}

inline Row row_of(const Candidates& candidates) {
  Row row;
  for (const Candidate& c : candidates) row[c.id] = c.logit;
  return row;
}

inline Candidates candidates_of(const Row& row) {
  std::vector<Candidate> items;
  for (const auto& [id, logit] : row) items.push_back({id, logit});
  return Candidates(std::move(items));
}

// Thirty tokens with equal logits.
inline Row letters() {
  Row row;
  for (TokenId id = 0; id < 30; ++id) row[id] = 0;
  return row;
}

inline Row row_from_probabilities(const std::vector<double>& p) {
  Row row;
  for (size_t i = 0; i < p.size(); ++i) row[static_cast<TokenId>(i)] = std::log(p[i]);
  return row;
}

// A row with ties, long tails and large offsets.
inline Row random_row(uint64_t seed, size_t size) {
  const Random random(seed, "row");
  const double scale = 0.1 + 5 * random.uniform(1000000),
               offset = 40 * random.uniform(1000001) - 20;
  const bool ties = random.uniform(1000002) < 0.4;
  Row row;
  for (size_t i = 0; i < size; ++i) {
    double logit = scale * random.normal(i);
    if (ties) logit = std::round(logit * 2) / 2;
    row[static_cast<TokenId>(i * 3 + 1)] = logit + offset;
  }
  return row;
}

inline std::map<TokenId, long double> slow_softmax(const Row& row) {
  long double sum = 0, max = -1e300L;
  for (const auto& [id, l] : row) max = std::max<long double>(max, l);
  std::map<TokenId, long double> p;
  for (const auto& [id, l] : row) sum += p[id] = std::exp(l - max);
  for (auto& [id, value] : p) value /= sum;
  return p;
}

// Ids by descending logit; of equals the lower first.
inline std::vector<TokenId> ranking(const Row& row) {
  std::vector<TokenId> ids;
  for (const auto& [id, l] : row) ids.push_back(id);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](TokenId a, TokenId b) { return row.at(a) > row.at(b); });
  return ids;
}

inline std::vector<TokenId> sorted(std::vector<TokenId> ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

// Token 1 ends a sequence, 0 and 2 are special; the others are letters "d", "e", …; 10 is "\n".
inline Vocabulary small_vocabulary(int64_t size = 30) {
  Vocabulary v;
  v.size = size;
  v.eos = {1};
  v.specials = {0, 1, 2};
  v.token_bytes = [](TokenId id) {
    if (id < 3) return std::string();
    return id == 10 ? std::string("\n") : std::string(1, static_cast<char>('a' + id % 26));
  };
  v.special_text = [](TokenId id) {
    return id < 3 ? std::string(id == 1 ? "</s>" : id == 0 ? "<s>" : "<|end|>") : std::string();
  };
  v.encode = [](std::string_view text) {
    std::vector<TokenId> ids;
    for (char c : text) {
      if (c >= 'd' && c <= 'z') ids.push_back(c - 'a');
      if (c == ' ') ids.push_back(26);
    }
    return ids;
  };
  return v;
}

inline SamplerChain make_chain(const std::string& yaml, const Vocabulary& vocabulary) {
  Problems problems;
  const auto stages = read_chain(parse_yaml(yaml, "test.yaml"), problems);
  problems.raise();
  return SamplerChain(stages, vocabulary);
}

// What stays of `row` after a chain given as YAML, with a history.
inline Row apply_chain(const std::string& yaml, const Row& row,
                       const std::vector<TokenId>& history = {}, size_t prompt_length = 0,
                       uint64_t seed = 0) {
  static const Vocabulary vocabulary = small_vocabulary(100000);
  SamplerChain chain = make_chain(yaml, vocabulary);
  Candidates candidates = candidates_of(row);
  const Noise noise(seed, 0, 0);
  chain.apply(candidates, {history, prompt_length, vocabulary, noise});
  return row_of(candidates);
}

inline std::vector<TokenId> kept(const Row& row) {
  std::vector<TokenId> ids;
  for (const auto& [id, l] : row) ids.push_back(id);
  return ids;
}

inline void expect_rows_near(const Row& a, const Row& b, double tolerance) {
  ASSERT_EQ(kept(a), kept(b));
  for (const auto& [id, l] : a) EXPECT_NEAR(l, b.at(id), tolerance) << "token " << id;
}

}  // namespace continuo::test
