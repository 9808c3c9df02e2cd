#include "generate/logit_rows.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/topk.h>

namespace continuo {
namespace {

// As many as common chains keep, top_k = 50 and top_p = 0.95 among them, and few enough to be found
// and sent in no time.
constexpr int64_t kTop = 256;

// row: the highest logits, their ids and the two sums.
TopLogits top_of(const float* row, int64_t vocabulary) {
  // Others may have the last one's logit, and lower ids.
  TopLogits top = {.items = {},
                   .bound = row[kTop - 1],
                   .log_sum = row[2 * kTop],
                   .raw_log_sum = row[2 * kTop + 1],
                   .size = static_cast<size_t>(vocabulary)};
  for (int64_t i = 0; i < kTop && row[i] > top.bound; ++i)
    top.items.push_back({static_cast<TokenId>(row[kTop + i]), row[i]});
  std::ranges::sort(top.items, {}, &Candidate::id);
  return top;
}

}  // namespace

struct LogitRows::Fetched {
  at::Tensor logits;  // [rows, width]
  // Of rows on a device: what is here of them, and all of those that were asked for.
  std::vector<std::optional<TopLogits>> tops;
  std::vector<at::Tensor> whole;
};

LogitRows::LogitRows(at::Tensor logits, int64_t vocabulary) {
  if (!logits.defined()) return;
  fetched_ = std::make_shared<Fetched>();
  Fetched& f = *fetched_;
  f.logits = logits.to(at::kFloat).contiguous();
  if (f.logits.is_cpu()) return;
  const int64_t rows = f.logits.size(0), width = f.logits.size(1);
  f.whole.resize(static_cast<size_t>(rows));
  f.tops.resize(static_cast<size_t>(rows));
  constexpr int64_t kExactInFloat = int64_t{1} << 24;
  if (vocabulary < 4 * kTop || width > kExactInFloat) return;
  const at::Tensor words = f.logits.narrow(1, 0, vocabulary);
  const auto [values, ids] = at::topk(words, kTop);
  const at::Tensor sum = at::logsumexp(words, {1}, /*keepdim=*/true);
  const at::Tensor raw = width == vocabulary ? sum : at::logsumexp(f.logits, {1}, true);
  // One copy, and one wait for the device.
  const at::Tensor here = at::cat({values, ids.to(at::kFloat), sum, raw}, 1).to(at::kCPU);
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = here.const_data_ptr<float>() + r * here.size(1);
    // A logit that is NaN or infinite is found, and named, in the whole row.
    if (!std::isfinite(row[2 * kTop]) || !std::isfinite(row[2 * kTop + 1])) continue;
    f.tops[static_cast<size_t>(r)] = top_of(row, vocabulary);
  }
}

LogitRows LogitRows::from(int64_t first) const {
  LogitRows rows = *this;
  rows.first_ += first;
  return rows;
}

LogitRow LogitRows::row(int64_t index) const {
  Fetched& f = *fetched_;
  const int64_t at = first_ + index;
  const auto width = static_cast<size_t>(f.logits.size(1));
  if (f.logits.is_cpu()) {
    const float* data = f.logits.const_data_ptr<float>() + at * f.logits.size(1);
    return whole_row({data, width});
  }
  const auto place = static_cast<size_t>(at);
  return {.whole =
              [&f, place, width] {
                at::Tensor& row = f.whole[place];
                if (!row.defined()) row = f.logits[static_cast<int64_t>(place)].to(at::kCPU);
                return std::span(row.const_data_ptr<float>(), width);
              },
          .top = f.tops[place] ? &*f.tops[place] : nullptr};
}

}  // namespace continuo
