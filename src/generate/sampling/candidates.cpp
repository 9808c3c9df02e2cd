#include "generate/sampling/candidates.h"

#include <cmath>
#include <limits>

#include "core/error.h"
#include "generate/sampling/fast_exp.h"
#include "generate/sampling/mass_cut.h"

namespace continuo {

Candidates::Candidates(std::vector<Candidate> items) : items_(std::move(items)) {
  std::sort(items_.begin(), items_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  keep_if([&](size_t i) { return items_[i].logit > kNever; });
}

void Candidates::reset(std::span<const float> logits) {
  changed();
  items_.clear();
  form_ = Form::list;  // should the row be faulty
  dense_.reset(logits);
  form_ = Form::dense;
}

void Candidates::reset(const TopLogits& top) {
  changed();
  items_.clear();
  partial_.reset(top);
  form_ = Form::partial;
}

// A dense row that is looked at token by token becomes a list of tokens.
const std::vector<Candidate>& Candidates::items() const {
  if (is_partial()) throw NeedsWholeRow();
  if (is_dense()) {
    items_ = dense_.between(kNever);
    form_ = Form::list;
  }
  return items_;
}

template <class Keep>
void Candidates::keep_if(Keep keep) {
  size_t kept = 0;
  for (size_t i = 0; i < items_.size(); ++i) {
    if (keep(i)) items_[kept++] = items_[i];
  }
  if (kept != items_.size()) changed();
  items_.resize(kept);
}

void Candidates::become(std::vector<Candidate> items) {
  items_ = std::move(items);
  form_ = Form::list;
  changed();
}

const Candidate& Candidates::best() const {
  if (is_dense()) return dense_.best();
  if (is_partial()) return partial_.best();
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
  items();
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
  if (is_dense()) return dense_.log_sum();
  softmax();
  return log_sum_;
}

double Candidates::entropy() const {
  if (is_dense()) return dense_.sums().entropy();
  softmax();
  double entropy = 0;
  for (size_t i = 0; i < items_.size(); ++i) {
    entropy += probabilities_[i] * (log_sum_ - items_[i].logit);  // p = 0 adds 0: logits are finite
  }
  return entropy;
}

double Candidates::deviation() const {
  if (is_dense()) return dense_.deviation();
  items();
  double mean = 0, variance = 0;
  for (const Candidate& c : items_) mean += c.logit;
  mean /= static_cast<double>(items_.size());
  for (const Candidate& c : items_) variance += (c.logit - mean) * (c.logit - mean);
  return std::sqrt(variance / static_cast<double>(items_.size()));
}

std::vector<Candidate> Candidates::at_least(double bar) const {
  if (is_dense()) return dense_.between(bar);
  if (is_partial()) return partial_.at_least(bar);
  std::vector<Candidate> found;
  for (const Candidate& c : items_) {
    if (c.logit >= bar) found.push_back(c);
  }
  return found;
}

void Candidates::keep_top(size_t k) {
  if (k >= size()) return;
  if (k == 0) return become({});
  if (is_partial()) return become(partial_.top(k));
  if (is_dense()) {
    if (k == 1) return become({dense_.best()});
    become(dense_.between(dense_.reached_by(k)));
    if (k >= items_.size()) return;
  }
  // A buffer of the best so far; whenever it is full its worse half goes and the bar rises, so
  // that most tokens cost one comparison.
  std::vector<Candidate> top;
  const size_t capacity = std::max<size_t>(2 * k, 512);
  top.reserve(capacity);
  double bar = kNever;
  auto shrink = [&] {
    std::nth_element(top.begin(), top.begin() + static_cast<std::ptrdiff_t>(k - 1), top.end(),
                     ranks_before);
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

void Candidates::keep_above(double cutoff, size_t min_keep) {
  std::vector<Candidate> above = at_least(cutoff);
  if (above.size() < min_keep) return keep_top(min_keep);
  if (above.size() < size()) become(std::move(above));
}

void Candidates::keep_nearest(double center, double mass, size_t min_keep) {
  if (is_partial()) return become(partial_.nearest(center, mass, min_keep));
  std::vector<double> score, weight;
  const auto score_items = [&] {
    score.resize(items_.size());
    for (size_t i = 0; i < items_.size(); ++i) score[i] = std::abs(items_[i].logit - center);
  };
  if (!is_dense()) {
    score_items();
    weight = probabilities();
  } else {
    // Widen the front until it holds the mass; the rest of the row is never looked at.
    const RowSums& sums = dense_.sums();
    const double max = sums.max;
    mass *= sums.sum;
    const size_t all = dense_.size();
    for (double limit = 1;; limit = limit < 24    ? limit + 1
                                    : limit < 1e6 ? 2 * limit
                                                  : std::numeric_limits<double>::infinity()) {
      std::vector<Candidate> front = dense_.between(center - limit, center + limit);
      weight.resize(front.size());
      for (size_t i = 0; i < front.size(); ++i) weight[i] = front[i].logit - max;
      exp_nonpositive(weight);
      double held = 0;
      for (const double w : weight) held += w;
      if (front.size() < all && (held < mass || front.size() < min_keep)) continue;
      become(std::move(front));
      break;
    }
    score_items();
  }
  const std::vector<uint32_t> kept = mass_cut(score, weight, mass, min_keep);
  if (kept.size() == items_.size()) return;
  for (size_t rank = 0; rank < kept.size(); ++rank) items_[rank] = items_[kept[rank]];
  items_.resize(kept.size());
  changed();
}

void Candidates::remove(std::span<const TokenId> ids) {
  std::vector<TokenId> distinct(ids.begin(), ids.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  edit(distinct, [](size_t, double) { return kNever; });
}

void Candidates::divide(double t) {
  if (is_partial()) return partial_.divide(t);
  if (is_dense() && dense_.divide(t)) return;
  items();
  for (Candidate& c : items_) c.logit /= t;
  changed();
}

void Candidates::drop_removed() {
  for (const Candidate& c : items_) {
    if (std::isnan(c.logit)) fail("the logit of token {} became NaN", c.id);
  }
  keep_if([&](size_t i) { return items_[i].logit > kNever; });
  changed();
}

}  // namespace continuo
