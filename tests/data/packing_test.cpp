#include "data/packing.h"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "core/random.h"

namespace continuo {
namespace {

using Bins = std::vector<std::vector<int64_t>>;

TEST(Packing, ByHand) {
  const std::vector<int64_t> sizes = {3, 5, 2, 5, 4, 1};
  // 5a 5b | 4 3 2 1 with room 10: {5,5}, {4,3,2,1}.
  EXPECT_EQ(pack_first_fit_decreasing(sizes, 10), (Bins{{1, 3}, {4, 0, 2, 5}}));
  EXPECT_EQ(pack_first_fit_decreasing(std::vector<int64_t>{20, 1}, 10), (Bins{{0}, {1}}))
      << "a large one stands alone";
  EXPECT_EQ(pack_first_fit_decreasing({}, 10), Bins{});
}

TEST(Packing, EveryItemOnceAndNoBinOverfull) {
  const Random random(1, "packing test");
  for (uint64_t trial = 0; trial < 200; ++trial) {
    std::vector<int64_t> sizes(random.below(60, trial));
    for (size_t i = 0; i < sizes.size(); ++i)
      sizes[i] = 1 + static_cast<int64_t>(random.below(30, trial, i + 1));
    const int64_t capacity = 1 + static_cast<int64_t>(random.below(80, trial, 1000));
    std::vector<int64_t> seen;
    for (const auto& bin : pack_first_fit_decreasing(sizes, capacity)) {
      int64_t total = 0;
      for (const int64_t item : bin) total += sizes[static_cast<size_t>(item)];
      EXPECT_TRUE(total <= capacity || bin.size() == 1);
      seen.insert(seen.end(), bin.begin(), bin.end());
    }
    std::sort(seen.begin(), seen.end());
    std::vector<int64_t> all(sizes.size());
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(seen, all);
  }
}

TEST(Dealing, ByHand) {
  const std::vector<double> costs = {3, 5, 2, 5, 4, 1};
  // 5 and 5 first, then 4 to the first, 3 and 2 to the second, 1 to the first.
  EXPECT_EQ(deal_by_cost(costs, 2), (Bins{{1, 4, 5}, {0, 2, 3}}));
  EXPECT_EQ(deal_by_cost(costs, 1), (Bins{{0, 1, 2, 3, 4, 5}}));
  EXPECT_EQ(deal_by_cost(std::vector<double>{1}, 3), (Bins{{0}, {}, {}}));
  EXPECT_EQ(deal_by_cost({}, 2), (Bins{{}, {}}));
}

TEST(Dealing, EveryItemOnceAndNoHandFarFromTheOthers) {
  const Random random(1, "dealing test");
  for (uint64_t trial = 0; trial < 100; ++trial) {
    std::vector<double> costs(1 + random.below(60, trial));
    for (size_t i = 0; i < costs.size(); ++i)
      costs[i] = 1 + static_cast<double>(random.below(30, trial, i + 1));
    const int64_t hands = 1 + static_cast<int64_t>(random.below(9, trial, 1000));
    std::vector<int64_t> seen;
    std::vector<double> sums;
    for (const auto& hand : deal_by_cost(costs, hands)) {
      sums.push_back(0);
      for (const int64_t item : hand) sums.back() += costs[static_cast<size_t>(item)];
      seen.insert(seen.end(), hand.begin(), hand.end());
    }
    std::ranges::sort(seen);
    std::vector<int64_t> all(costs.size());
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(seen, all);
    EXPECT_LE(*std::ranges::max_element(sums) - *std::ranges::min_element(sums),
              *std::ranges::max_element(costs));
  }
}

}  // namespace
}  // namespace continuo
