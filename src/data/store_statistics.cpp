#include "data/store_statistics.h"

#include <algorithm>

namespace continuo {
namespace {

// The smallest length that at least `share` of the examples do not exceed.
int64_t percentile(const std::vector<int64_t>& counts, int64_t total, double share) {
  int64_t seen = 0;
  for (size_t length = 0; length < counts.size(); ++length) {
    seen += counts[length];
    if (static_cast<double>(seen) >= share * static_cast<double>(total))
      return static_cast<int64_t>(length);
  }
  return 0;
}

}  // namespace

StoreStatistics store_statistics(const ExampleStore& store, std::optional<TokenId> eos,
                                 int64_t bins) {
  StoreStatistics stats;
  stats.examples = store.size();
  if (stats.examples == 0) return stats;
  std::vector<int64_t> counts;  // by length: lengths end at the context
  for (int64_t i = 0; i < store.size(); ++i) {
    const ExampleView example = store[i];
    const size_t length = example.tokens.size();
    if (counts.size() <= length) counts.resize(length + 1);
    ++counts[length];
    stats.tokens += static_cast<int64_t>(length);
    stats.trained += std::count(example.trained.begin() + 1, example.trained.end(), 1);
    stats.eos_trained += eos && example.tokens.back() == *eos && example.trained.back() == 1;
  }
  const auto first =
      std::find_if(counts.begin(), counts.end(), [](int64_t count) { return count > 0; });
  stats.shortest = first - counts.begin();
  stats.longest = static_cast<int64_t>(counts.size()) - 1;
  stats.median = percentile(counts, stats.examples, 0.5);
  stats.p95 = percentile(counts, stats.examples, 0.95);
  const int64_t width = (stats.longest - stats.shortest) / bins + 1;
  for (int64_t low = stats.shortest; low <= stats.longest; low += width) {
    LengthBin bin{low, std::min(low + width - 1, stats.longest), 0};
    for (int64_t length = bin.low; length <= bin.high; ++length)
      bin.count += counts[static_cast<size_t>(length)];
    stats.histogram.push_back(bin);
  }
  return stats;
}

}  // namespace continuo
