#include "data/packing.h"

#include <algorithm>
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

}  // namespace continuo
