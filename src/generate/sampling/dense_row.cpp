#include "generate/sampling/dense_row.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/Parallel.h>

#include "core/error.h"
#include "core/random.h"
#include "nn/cpu/kernels/kernels.h"

namespace continuo {
namespace {

constexpr float kFloatInfinity = std::numeric_limits<float>::infinity();
constexpr double kDoubleInfinity = std::numeric_limits<double>::infinity();

bool id_before(const Candidate& c, TokenId id) { return c.id < id; }

// Two rows of tokens that share no id, both in id order.
std::vector<Candidate> merged(std::vector<Candidate> a, const std::vector<Candidate>& b) {
  if (b.empty()) return a;
  const auto middle = static_cast<std::ptrdiff_t>(a.size());
  a.insert(a.end(), b.begin(), b.end());
  std::inplace_merge(a.begin(), a.begin() + middle, a.end(),
                     [](const Candidate& x, const Candidate& y) { return x.id < y.id; });
  return a;
}

// f(from, count) of every chunk of a row of n logits, in order. Long rows are shared between the
// threads; the chunks, and so the sums over their results, are the same for any number of them.
template <class F>
auto of_chunks(int64_t n, const F& f) {
  constexpr int64_t kChunk = 256 * kRowBlock;
  constexpr int64_t kGrain = 4;  // chunks that are worth a thread
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  std::vector<decltype(f(n, n))> results(static_cast<size_t>(chunks));
  at::parallel_for(0, chunks, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      results[static_cast<size_t>(c)] = f(c * kChunk, std::min(kChunk, n - c * kChunk));
    }
  });
  return results;
}

RowSummary summary_of(std::span<const float> row, std::vector<float>& block_max) {
  RowSummary all{.max = -kFloatInfinity};
  for (const RowSummary& part : of_chunks(std::ssize(row), [&](int64_t from, int64_t count) {
         return kernels().row.summary(count, row.data() + from,
                                      block_max.data() + from / kRowBlock);
       })) {
    all.max = std::max(all.max, part.max);
    all.live += part.live;
    all.faulty |= part.faulty;
  }
  return all;
}

ExpSums exp_sums_of(std::span<const float> row, float max, float scale, bool weighted) {
  ExpSums all;
  for (const ExpSums& part : of_chunks(std::ssize(row), [&](int64_t from, int64_t count) {
         return kernels().row.exp_sums(count, row.data() + from, max, scale, weighted);
       })) {
    all.sum += part.sum;
    all.weighted += part.weighted;
  }
  return all;
}

DeviationSums deviations_of(std::span<const float> row, double center) {
  DeviationSums all;
  for (const DeviationSums& part : of_chunks(std::ssize(row), [&](int64_t from, int64_t count) {
         return kernels().row.deviations(count, row.data() + from, center);
       })) {
    all.sum += part.sum;
    all.squares += part.squares;
  }
  return all;
}

}  // namespace

double RowSums::log_sum() const { return max + std::log(sum); }
double RowSums::entropy() const { return std::log(sum) - weighted / sum; }

void DenseRow::reset(std::span<const float> logits) {
  logits_ = logits;
  divisor_ = 1;
  edited_.clear();
  raw_log_sum_.reset();
  changed();
  block_max_.resize(static_cast<size_t>(row_blocks(std::ssize(logits))));
  const RowSummary summary = summary_of(logits, block_max_);
  for (size_t i = 0; summary.faulty && i < logits.size(); ++i) {
    if (std::isnan(logits[i])) fail("the logit of token {} is NaN", i);
    if (logits[i] == kFloatInfinity) fail("the logit of token {} is infinite", i);
  }
  size_ = static_cast<size_t>(summary.live);
  raw_max_ = summary.max;
  if (size_ == 0) fail("all {} logits are -inf: no token can be drawn", logits.size());
}

bool DenseRow::is_edited(TokenId id) const {
  const auto it = std::lower_bound(edited_.begin(), edited_.end(), id, id_before);
  return it != edited_.end() && it->id == id;
}

float DenseRow::untouched_max() const {
  if (!untouched_max_) untouched_max_ = *std::max_element(block_max_.begin(), block_max_.end());
  return *untouched_max_;
}

const Candidate& DenseRow::best() const {
  if (best_) return *best_;
  Candidate best{-1, -kDoubleInfinity};
  const auto block = std::max_element(block_max_.begin(), block_max_.end());  // the first of equals
  if (*block > -kFloatInfinity) {
    auto id = static_cast<TokenId>((block - block_max_.begin()) * kRowBlock);
    while (logits_[static_cast<size_t>(id)] != *block || is_edited(id)) ++id;
    best = {id, scaled(id)};
  }
  for (const Candidate& c : edited_) {
    if (c.logit > -kDoubleInfinity && (best.id < 0 || ranks_before(c, best))) best = c;
  }
  return best_.emplace(best);
}

const RowSums& DenseRow::sums() const {
  if (sums_) return *sums_;
  RowSums sums{.max = best().logit};
  if (const float high = untouched_max(); high > -kFloatInfinity) {
    std::vector<float> patched;  // the row without the edited tokens
    std::span<const float> row = logits_;
    if (!edited_.empty()) {
      patched.assign(row.begin(), row.end());
      for (const Candidate& c : edited_) patched[static_cast<size_t>(c.id)] = -kFloatInfinity;
      row = patched;
    }
    const ExpSums part = exp_sums_of(row, high, static_cast<float>(1 / divisor_), true);
    const double shift = static_cast<double>(high) / divisor_ - sums.max, factor = std::exp(shift);
    sums.sum = factor * part.sum;
    sums.weighted = factor * (part.weighted + shift * part.sum);
  }
  for (const Candidate& c : edited_) {
    if (c.logit == -kDoubleInfinity) continue;
    const double d = c.logit - sums.max, p = std::exp(d);
    sums.sum += p;
    sums.weighted += d * p;
  }
  if (edited_.empty() && divisor_ == 1) raw_log_sum_ = sums.log_sum();
  return sums_.emplace(sums);
}

// That of an untouched row is kept, and costs half of what all sums do.
double DenseRow::log_sum() const {
  return edited_.empty() && divisor_ == 1 ? raw_log_sum() : sums().log_sum();
}

double DenseRow::raw_log_sum() const {
  if (!raw_log_sum_)
    raw_log_sum_ = raw_max_ + std::log(exp_sums_of(logits_, raw_max_, 1, false).sum);
  return *raw_log_sum_;
}

double DenseRow::deviation() const {
  const auto size = static_cast<double>(size_);
  // Around the highest logit: it is near enough to the mean that the difference below loses little
  // in double.
  const double center = raw_max_;
  DeviationSums sums = deviations_of(logits_, center);
  sums = {sums.sum / divisor_, sums.squares / (divisor_ * divisor_)};
  for (const Candidate& c : edited_) {  // the kernel counted them with the logits that they had
    const double before = scaled(c.id) - center / divisor_, now = c.logit - center / divisor_;
    const bool removed = c.logit == -kDoubleInfinity;
    sums.sum += (removed ? 0 : now) - before;
    sums.squares += (removed ? 0 : now * now) - before * before;
  }
  return std::sqrt(std::max(0.0, sums.squares / size - (sums.sum / size) * (sums.sum / size)));
}

double DenseRow::reached_by(size_t k) const {
  if (k == 0 || k > block_max_.size()) return -kDoubleInfinity;
  // A buffer of the best so far; whenever it is full its worse half goes and the bar rises.
  std::vector<float> top;
  const size_t capacity = std::max<size_t>(2 * k, 128);
  top.reserve(capacity);
  float bar = -kFloatInfinity;
  const auto shrink = [&] {
    if (top.size() < k) return;
    std::nth_element(top.begin(), top.begin() + static_cast<std::ptrdiff_t>(k - 1), top.end(),
                     std::greater<>());
    top.resize(k);
    bar = top.back();
  };
  for (const float max : block_max_) {
    if (max <= bar) continue;
    top.push_back(max);
    if (top.size() == capacity) shrink();
  }
  shrink();
  return static_cast<double>(bar) / divisor_;
}

std::vector<Candidate> DenseRow::between(double low, double high) const {
  // Whatever rounding does to the product, two steps below it are low enough.
  float bar = static_cast<float>(low * divisor_);
  for (int i = 0; i < 2; ++i) bar = std::nextafter(bar, -kFloatInfinity);
  hits_.resize(std::max(hits_.size(), logits_.size()));
  const auto n = static_cast<int64_t>(logits_.size());
  const auto count = static_cast<size_t>(
      kernels().row.reaching(n, logits_.data(), block_max_.data(), bar, hits_.data()));
  std::vector<Candidate> found;
  found.reserve(count);
  auto edit = edited_.begin();
  for (size_t h = 0; h < count; ++h) {
    const TokenId id = hits_[h];
    const double logit = scaled(id);
    if (logit < low || logit > high || logit == -kDoubleInfinity) continue;
    while (edit != edited_.end() && edit->id < id) ++edit;
    if (edit == edited_.end() || edit->id != id) found.push_back({id, logit});
  }
  std::vector<Candidate> touched;
  for (const Candidate& c : edited_) {
    if (c.logit >= low && c.logit <= high && c.logit > -kDoubleInfinity) touched.push_back(c);
  }
  return merged(std::move(found), touched);
}

std::vector<Candidate> DenseRow::contenders(TokenId from, double bar, const Noise& noise,
                                            uint64_t position) const {
  const TokenId to = std::min(end_id(), from + kDrawSpan);
  std::vector<Candidate> found;
  const float high = untouched_max();
  if (high > -kFloatInfinity) {
    const PhiloxKey key = noise.token_key();
    std::array<int32_t, kDrawSpan + 1> hits;
    const int64_t count = kernels().row.gumbel_hits(
        {.first = from,
         .n = to - from,
         .x = logits_.data() + from,
         .max = high,
         .scale = static_cast<float>(1 / divisor_),
         .bar = static_cast<float>(bar - static_cast<double>(high) / divisor_),
         .key = {{key[0], key[1]}, position}},
        hits.data());
    for (int64_t h = 0; h < count; ++h) {
      const TokenId id = from + hits[static_cast<size_t>(h)];
      if (!is_edited(id)) found.push_back({id, scaled(id)});
    }
  }
  std::vector<Candidate> touched;
  for (auto it = std::lower_bound(edited_.begin(), edited_.end(), from, id_before);
       it != edited_.end() && it->id < to; ++it) {
    if (it->logit > -kDoubleInfinity) touched.push_back(*it);
  }
  return merged(std::move(found), touched);
}

void DenseRow::edit(std::span<const TokenId> ids, const std::function<double(size_t, double)>& f) {
  std::vector<Candidate> fresh;
  std::vector<size_t> stale;  // blocks that lost their maximum
  auto edit = edited_.begin();
  for (size_t index = 0; index < ids.size(); ++index) {
    const TokenId id = ids[index];
    if (id < 0 || id >= end_id()) continue;
    while (edit != edited_.end() && edit->id < id) ++edit;
    const bool known = edit != edited_.end() && edit->id == id;
    const double before = known ? edit->logit : scaled(id);
    if (before == -kDoubleInfinity) continue;
    const double after = f(index, before);
    if (std::isnan(after)) fail("the logit of token {} became NaN", id);
    if (after == -kDoubleInfinity) --size_;
    if (known) {
      edit->logit = after;
      continue;
    }
    fresh.push_back({id, after});
    const size_t block = static_cast<size_t>(id) / kRowBlock;
    if (logits_[static_cast<size_t>(id)] == block_max_[block]) stale.push_back(block);
  }
  edited_ = merged(std::move(edited_), fresh);
  stale.erase(std::unique(stale.begin(), stale.end()), stale.end());
  for (const size_t block : stale) refresh_block(block);
  changed();
}

void DenseRow::refresh_block(size_t block) {
  const size_t from = block * kRowBlock, to = std::min(logits_.size(), from + kRowBlock);
  auto edit =
      std::lower_bound(edited_.begin(), edited_.end(), static_cast<TokenId>(from), id_before);
  float max = -kFloatInfinity;
  for (size_t i = from; i < to; ++i) {
    if (edit != edited_.end() && edit->id == static_cast<TokenId>(i)) {
      ++edit;
    } else {
      max = std::max(max, logits_[i]);
    }
  }
  block_max_[block] = max;
}

bool DenseRow::divide(double t) {
  if (divisor_ != 1) return false;
  divisor_ = t;
  for (Candidate& c : edited_) c.logit /= t;
  changed();
  return true;
}

}  // namespace continuo
