#include "generate/sampling/partial_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace continuo {
namespace {

// What sums may be off by, relative to that of the row: a device adds in float32.
constexpr double kSumError = 2e-5;

auto place_of(const std::vector<Candidate>& items, TokenId id) {
  return std::lower_bound(items.begin(), items.end(), id,
                          [](const Candidate& c, TokenId token) { return c.id < token; });
}

std::vector<Candidate> by_id(std::vector<Candidate> items) {
  std::ranges::sort(items, {}, &Candidate::id);
  return items;
}

}  // namespace

double TopLogits::raw_logprob(TokenId token) const {
  return place_of(items, token)->logit - raw_log_sum;
}

void PartialRow::reset(const TopLogits& top) {
  items_ = top.items;
  bound_ = top.bound;
  size_ = top.size;
  reference_ = top.log_sum;
  least_ = most_ = 0;
  if (bound_ == kNever) return;
  double known = 0;
  for (const Candidate& c : items_) known += std::exp(c.logit - reference_);
  least_ = std::max(0.0, 1 - known - kSumError);
  most_ = std::max(0.0, 1 - known) + kSumError;
}

const Candidate& PartialRow::best() const {
  const auto best = std::ranges::min_element(items_, ranks_before);
  if (best == items_.end() || best->logit <= bound_) throw NeedsWholeRow();
  return *best;
}

std::vector<Candidate> PartialRow::top(size_t k) const {
  std::vector<Candidate> top =
      at_least(std::nextafter(bound_, std::numeric_limits<double>::infinity()));
  if (top.size() < k) throw NeedsWholeRow();
  std::ranges::nth_element(top, top.begin() + static_cast<std::ptrdiff_t>(k - 1), ranks_before);
  top.resize(k);
  return by_id(std::move(top));
}

std::vector<Candidate> PartialRow::at_least(double bar) const {
  if (!(bar > bound_)) throw NeedsWholeRow();
  std::vector<Candidate> found;
  std::ranges::copy_if(items_, std::back_inserter(found),
                       [bar](const Candidate& c) { return c.logit >= bar && c.logit > kNever; });
  return found;
}

std::vector<Candidate> PartialRow::nearest(double center, double mass, size_t min_keep) const {
  std::vector<Candidate> front;  // nearer than any of the others can be
  double known = 0;
  for (const Candidate& c : items_) {
    known += std::exp(c.logit - reference_);
    if (c.logit > kNever && std::abs(c.logit - center) < center - bound_) front.push_back(c);
  }
  std::ranges::stable_sort(front, {},
                           [&](const Candidate& c) { return std::abs(c.logit - center); });
  // How many reach a share of a sum.
  const auto reaching = [&](double wanted) {
    double held = 0;
    for (size_t n = 0; n < front.size(); ++n) {
      held += std::exp(front[n].logit - reference_);
      if (held >= wanted && n + 1 >= min_keep) return n + 1;
    }
    throw NeedsWholeRow();
  };
  const size_t count = reaching(mass * (known + most_) * (1 + kSumError));
  if (reaching(mass * (known + least_) * (1 - kSumError)) != count) throw NeedsWholeRow();
  front.resize(count);
  return by_id(std::move(front));
}

void PartialRow::edit(std::span<const TokenId> ids,
                      const std::function<double(size_t, double)>& f) {
  for (size_t index = 0; index < ids.size(); ++index) {
    if (ids[index] < 0 || ids[index] >= static_cast<TokenId>(size_)) continue;
    const auto at = place_of(items_, ids[index]);
    if (at != items_.end() && at->id == ids[index]) {
      double& logit = items_[static_cast<size_t>(at - items_.begin())].logit;
      if (logit == kNever) continue;
      logit = f(index, logit);
      if (std::isnan(logit)) fail("the logit of token {} became NaN", ids[index]);
    } else if (bound_ > kNever) {
      // One of the others: how high it is nobody knows, but it must not rise above the bound.
      if (!(f(index, bound_) <= bound_)) throw NeedsWholeRow();
      least_ = std::max(0.0, least_ - std::exp(bound_ - reference_));
    }
  }
}

// With x = e^(logit − reference) of n others, none above b, and s = 1/t: where s > 1, Σ x^s is at
// most b^(s−1) Σ x, and at least n^(1−s) (Σ x)^s, by the inequality of power means; where s < 1 the
// other way round.
void PartialRow::divide(double t) {
  const double s = 1 / t;
  if (most_ > 0) {
    const double highest = std::pow(std::exp(bound_ - reference_), s - 1);
    const auto others = static_cast<double>(size_ - items_.size());
    const auto by_means = [&](double sum) { return std::pow(others, 1 - s) * std::pow(sum, s); };
    least_ = s > 1 ? by_means(least_) : least_ * highest;
    most_ = s > 1 ? most_ * highest : by_means(most_);
  }
  for (Candidate& c : items_) c.logit /= t;
  bound_ /= t;
  reference_ /= t;
}

}  // namespace continuo
