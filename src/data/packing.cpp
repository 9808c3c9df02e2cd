#include "data/packing.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace continuo {

std::vector<std::vector<int64_t>> pack_first_fit_decreasing(std::span<const int64_t> sizes,
                                                            int64_t capacity) {
  std::vector<int64_t> order(sizes.size());
  std::iota(order.begin(), order.end(), 0);
  const auto size = [&](int64_t item) { return sizes[static_cast<size_t>(item)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return size(a) > size(b); });
  std::vector<std::vector<int64_t>> bins;
  std::vector<int64_t> room;
  // Bins before this one cannot take even the smallest item; skipping them keeps long steps fast.
  size_t first_open = 0;
  const int64_t smallest = order.empty() ? 0 : size(order.back());
  for (const int64_t item : order) {
    while (first_open < room.size() && room[first_open] < smallest) ++first_open;
    size_t bin = first_open;
    while (bin < room.size() && room[bin] < size(item)) ++bin;
    if (bin == room.size()) {
      bins.emplace_back();
      room.push_back(capacity);
    }
    bins[bin].push_back(item);
    room[bin] -= size(item);
  }
  return bins;
}

std::vector<std::vector<int64_t>> deal_by_cost(std::span<const double> costs, int64_t hands) {
  std::vector<int64_t> order(costs.size());
  std::iota(order.begin(), order.end(), 0);
  const auto cost = [&](int64_t item) { return costs[static_cast<size_t>(item)]; };
  std::ranges::stable_sort(order, std::greater(), cost);
  std::vector<std::vector<int64_t>> dealt(static_cast<size_t>(hands));
  std::vector<double> sums(dealt.size());
  for (const int64_t item : order) {
    const auto hand = static_cast<size_t>(std::ranges::min_element(sums) - sums.begin());
    dealt[hand].push_back(item);
    sums[hand] += cost(item);
  }
  for (std::vector<int64_t>& items : dealt) std::ranges::sort(items);
  return dealt;
}

}  // namespace continuo
