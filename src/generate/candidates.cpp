#include "generate/candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "generate/fast_exp.h"

namespace continuo {

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
}  // namespace

Candidates::Candidates(std::vector<Candidate> items) : items_(std::move(items)) {
  std::sort(items_.begin(), items_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  keep_if([&](size_t i) { return items_[i].logit > -kInfinity; });
}

void Candidates::reset(std::span<const float> logits) {
  items_.resize(logits.size());
  size_t kept = 0;
  bool valid = true;  // one branch after the loop instead of one a token
  for (size_t i = 0; i < logits.size(); ++i) {
    items_[kept] = {static_cast<TokenId>(i), logits[i]};
    kept += logits[i] > -std::numeric_limits<float>::infinity();
    valid &= logits[i] < std::numeric_limits<float>::infinity();
  }
  for (size_t i = 0; !valid && i < logits.size(); ++i) {
    if (std::isnan(logits[i])) fail("the logit of token {} is NaN", i);
    if (std::isinf(logits[i]) && logits[i] > 0) fail("the logit of token {} is infinite", i);
  }
  items_.resize(kept);
  changed();
  if (items_.empty()) fail("all {} logits are -inf: no token can be drawn", logits.size());
}

const Candidate& Candidates::best() const {
  if (!best_valid_) {
    best_ = 0;
    for (size_t i = 1; i < items_.size(); ++i) {
      if (items_[i].logit > items_[best_].logit) best_ = i;
    }
    best_valid_ = true;
  }
  return items_[best_];
}

void Candidates::softmax() const {
  if (softmax_valid_) return;
  const double max = items_.empty() ? 0 : best().logit;
  probabilities_.resize(items_.size());
  for (size_t i = 0; i < items_.size(); ++i) probabilities_[i] = items_[i].logit - max;
  exp_nonpositive(probabilities_);
  double sum = 0;
  for (double p : probabilities_) sum += p;
  for (double& p : probabilities_) p /= sum;
  log_sum_ = max + std::log(sum);
  softmax_valid_ = true;
}

const std::vector<double>& Candidates::probabilities() const {
  softmax();
  return probabilities_;
}

double Candidates::log_sum() const {
  softmax();
  return log_sum_;
}

double Candidates::entropy() const {
  softmax();
  double entropy = 0;
  for (size_t i = 0; i < items_.size(); ++i) {
    entropy += probabilities_[i] * (log_sum_ - items_[i].logit);  // p = 0 adds 0: logits are finite
  }
  return entropy;
}

void Candidates::keep_top(size_t k) {
  if (k >= items_.size()) return;
  if (k == 0) {
    items_.clear();
    return changed();
  }
  // A buffer of the best so far; whenever it is full its worse half goes and the bar rises, so
  // that most tokens cost one comparison.
  std::vector<Candidate> top;
  const size_t capacity = std::max<size_t>(2 * k, 512);
  top.reserve(capacity);
  double bar = -kInfinity;
  auto shrink = [&] {
    std::nth_element(top.begin(), top.begin() + (k - 1), top.end(), ranks_before);
    top.resize(k);
    bar = top.back().logit;
  };
  for (const Candidate& c : items_) {
    if (c.logit < bar) continue;
    top.push_back(c);
    if (top.size() == capacity) shrink();
  }
  shrink();
  const Candidate last = top.back();
  keep_if([&](size_t i) { return !ranks_before(last, items_[i]); });
}

void Candidates::keep_until_mass(std::span<const double> score, double mass, size_t min_keep) {
  const std::vector<double>& p = probabilities();
  const size_t n = items_.size();
  // Widen the front until it holds the mass; then only the front needs sorting.
  std::vector<uint32_t> front;
  for (double limit = 1;; limit = limit < 1e6 ? 2 * limit : kInfinity) {
    double held = 0;
    front.clear();
    for (size_t i = 0; i < n; ++i) {
      if (score[i] > limit) continue;
      front.push_back(static_cast<uint32_t>(i));
      held += p[i];
    }
    if (front.size() == n || (held >= mass && front.size() >= min_keep)) break;
  }
  std::stable_sort(front.begin(), front.end(),
                   [&](uint32_t a, uint32_t b) { return score[a] < score[b]; });
  size_t count = 0;
  for (double above = 0; count < front.size(); ++count) {
    if (above >= mass && count >= std::max<size_t>(1, min_keep)) break;
    above += p[front[count]];
  }
  if (count == n) return;
  std::vector<bool> kept(n);
  for (size_t rank = 0; rank < count; ++rank) kept[front[rank]] = true;
  keep_if([&](size_t i) { return kept[i]; });
}

void Candidates::remove(std::span<const TokenId> ids) {
  auto next = ids.begin();
  keep_if([&](size_t i) {
    while (next != ids.end() && *next < items_[i].id) ++next;
    return next == ids.end() || *next != items_[i].id;
  });
}

Candidate* Candidates::find(TokenId id) {
  auto it = std::lower_bound(items_.begin(), items_.end(), id,
                             [](const Candidate& c, TokenId wanted) { return c.id < wanted; });
  return it != items_.end() && it->id == id ? &*it : nullptr;
}

void Candidates::set(Candidate& c, double logit) {
  if (std::isnan(logit)) fail("the logit of token {} became NaN", c.id);
  if (logit > -kInfinity) {
    c.logit = logit;
  } else {
    items_.erase(items_.begin() + (&c - items_.data()));
  }
  changed();
}

}  // namespace continuo
