#include "generate/sampling/mass_cut.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace continuo {
namespace {

constexpr size_t kFewEnoughToSort = 256, kBuckets = 256;

// What is certain to be in the set, and the tokens among which the cut lies.
struct OpenCut {
  std::vector<uint32_t> kept, open;
  double above = 0;  // weight of `kept`
};

// Splits the open tokens into buckets of equal width and leaves only the one open in which the cut
// lies. False when the scores are all the same.
bool narrow(OpenCut& cut, std::span<const double> score, std::span<const double> weight,
            double mass, size_t needed) {
  double low = score[cut.open.front()], high = low;
  for (const uint32_t i : cut.open) {
    low = std::min(low, score[i]);
    high = std::max(high, score[i]);
  }
  const double width = (high - low) / kBuckets;
  if (!(width > 0)) return false;
  const auto bucket_of = [&](uint32_t i) {
    return std::min(kBuckets - 1, static_cast<size_t>((score[i] - low) / width));
  };
  std::array<double, kBuckets> weights{};
  std::array<size_t, kBuckets> counts{};
  for (const uint32_t i : cut.open) {
    const size_t bucket = bucket_of(i);
    weights[bucket] += weight[i];
    ++counts[bucket];
  }
  size_t last = 0, count = cut.kept.size();
  for (; last + 1 < kBuckets; ++last) {
    if (cut.above + weights[last] >= mass && count + counts[last] >= needed) break;
    cut.above += weights[last];
    count += counts[last];
  }
  std::vector<uint32_t> open;
  for (const uint32_t i : cut.open) {
    const size_t bucket = bucket_of(i);
    if (bucket < last) cut.kept.push_back(i);
    if (bucket == last) open.push_back(i);
  }
  cut.open = std::move(open);
  return true;
}

}  // namespace

std::vector<uint32_t> mass_cut(std::span<const double> score, std::span<const double> weight,
                               double mass, size_t min_keep) {
  const size_t needed = std::max<size_t>(1, min_keep);
  OpenCut cut;
  cut.open.resize(score.size());
  std::iota(cut.open.begin(), cut.open.end(), 0);
  while (cut.open.size() > kFewEnoughToSort && narrow(cut, score, weight, mass, needed)) {
  }
  std::stable_sort(cut.open.begin(), cut.open.end(),
                   [&](uint32_t a, uint32_t b) { return score[a] < score[b]; });
  for (const uint32_t i : cut.open) {
    if (cut.above >= mass && cut.kept.size() >= needed) break;
    cut.kept.push_back(i);
    cut.above += weight[i];
  }
  std::sort(cut.kept.begin(), cut.kept.end());
  return cut.kept;
}

}  // namespace continuo
