// Cross-entropy of one row of logits and its gradient (kernels.h). Included by kernels_impl.cpp
// only.
#pragma once

#include "nn/cpu/kernels/kernels.h"

namespace continuo {
namespace {

// Sums over a row of logits, with v = logit − highest.
struct LogitSums {
  float highest;
  float plain;     // Σ logit
  float total;     // Σ e^v
  float weighted;  // Σ v · e^v
};

template <class T>
LogitSums logit_sums(int64_t vocabulary, const T* logits) {
  Vec highs = splat(-__builtin_inff());
  float high = -__builtin_inff();
  Vec plain{};
  float plain_tail = 0;
  for_lanes(
      vocabulary,
      [&](int64_t i) {
        const Vec v = load(logits + i);
        highs = max(highs, v);
        plain += v;
      },
      [&](int64_t i) {
        const float v = to_float(logits[i]);
        high = high > v ? high : v;
        plain_tail += v;
      });
  const float highest_lane = max(highs);
  high = high > highest_lane ? high : highest_lane;

  Vec totals{}, weighted{};
  float total = 0, weighted_tail = 0;
  for_lanes(
      vocabulary,
      [&](int64_t i) {
        const Vec v = load(logits + i) - high;
        const Vec e = exp(v);
        totals += e;
        weighted += e * v;
      },
      [&](int64_t i) {
        const float v = to_float(logits[i]) - high;
        const float e = exp(v);
        total += e;
        weighted_tail += e * v;
      });
  return {high, sum(plain) + plain_tail, total + sum(totals), sum(weighted) + weighted_tail};
}

// Puts the gradient in place of the logits: d/dl = p·(1 + 2·z·lse) − (1−ε)·[target] − ε/V.
template <class T>
void cross_entropy_gradient(const CrossEntropyRow<T>& row, const LogitSums& sums, float lse) {
  const auto [vocabulary, logits, target, label_smoothing, z_loss, gradient, scale] = row;
  const float high = sums.highest, at_target = to_float(logits[target]);
  const float share = scale * (1.0f + 2.0f * z_loss * lse) / sums.total;
  const float floor = scale * label_smoothing / static_cast<float>(vocabulary);
  const float target_share =
      exp(at_target - high) * share - floor - scale * (1.0f - label_smoothing);
  for_lanes(
      vocabulary,
      [&](int64_t i) { store(logits + i, exp(load(logits + i) - high) * share - floor); },
      [&](int64_t i) { put(logits + i, exp(to_float(logits[i]) - high) * share - floor); });
  put(logits + target, target_share);
}

template <class T>
CrossEntropyTerms cross_entropy(const CrossEntropyRow<T>& row) {
  const auto [vocabulary, logits, target, label_smoothing, z_loss, gradient, scale] = row;
  const LogitSums sums = logit_sums(vocabulary, logits);
  const float high = sums.highest;
  const float log_total = static_cast<float>(__builtin_log(static_cast<double>(sums.total)));
  const float lse = high + log_total;
  const float at_target = to_float(logits[target]);

  CrossEntropyTerms terms;
  terms.nll = lse - at_target;
  terms.entropy = log_total - sums.weighted / sums.total;
  terms.correct = at_target == high;
  for (int64_t i = 0; terms.correct && i < target; ++i) terms.correct = to_float(logits[i]) < high;
  const float mean_nll = lse - sums.plain / static_cast<float>(vocabulary);
  terms.loss = (1.0f - label_smoothing) * terms.nll + z_loss * lse * lse;
  if (label_smoothing != 0.0f) terms.loss += label_smoothing * mean_nll;
  if (gradient) cross_entropy_gradient(row, sums, lse);
  return terms;
}

}  // namespace
}  // namespace continuo
