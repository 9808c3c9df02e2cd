#include "generate/sampling/mass_cut.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "core/random.h"

namespace continuo::test {
namespace {

using Indices = std::vector<uint32_t>;

// Sorts everything.
Indices slow_cut(const std::vector<double>& score, const std::vector<double>& weight, double mass,
                 size_t min_keep) {
  Indices order(score.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return score[a] < score[b]; });
  Indices kept;
  double above = 0;
  for (const uint32_t i : order) {
    if (above >= mass && kept.size() >= std::max<size_t>(1, min_keep)) break;
    kept.push_back(i);
    above += weight[i];
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

TEST(MassCut, EqualsSortingEverything) {
  const Random random(1, "cut");
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const size_t n = seed % 4 == 0 ? 20000 : seed % 4 == 1 ? 300 : 40;
    std::vector<double> score(n), weight(n);
    for (size_t i = 0; i < n; ++i) {
      score[i] = std::abs(random.normal(seed, i)) * (1 + static_cast<double>(seed % 5));
      if (seed % 3 == 0) score[i] = std::round(score[i] * 4) / 4;       // ties
      weight[i] = 1.0 + static_cast<double>(random.below(8, seed, i));  // sums without rounding
    }
    if (seed % 7 == 0) score[n / 2] = 1e6;  // a penalty far away
    const double all = std::accumulate(weight.begin(), weight.end(), 0.0);
    for (const double share : {0.0, 0.01, 0.3, 0.5, 0.9, 0.999, 1.0, 2.0}) {
      for (const size_t min_keep : {0ul, 1ul, 5ul, n / 2, n, 2 * n}) {
        EXPECT_EQ(mass_cut(score, weight, share * all, min_keep),
                  slow_cut(score, weight, share * all, min_keep))
            << seed << " " << share << " " << min_keep;
      }
    }
  }
}

TEST(MassCut, TiesTakeTheLowerIndex) {
  const std::vector<double> score(5000, 1.5), weight(5000, 1);
  EXPECT_EQ(mass_cut(score, weight, 3, 1), (Indices{0, 1, 2}));
  EXPECT_EQ(mass_cut(score, weight, 2.5, 1), (Indices{0, 1, 2}));
  EXPECT_EQ(mass_cut(score, weight, 0, 4), (Indices{0, 1, 2, 3}));
}

TEST(MassCut, NothingToCut) { EXPECT_TRUE(mass_cut({}, {}, 0.5, 1).empty()); }

}  // namespace
}  // namespace continuo::test
