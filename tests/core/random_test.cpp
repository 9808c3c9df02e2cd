#include "core/random.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"

namespace continuo {
namespace {

// Known answers published with Random123 (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t f = 0xffffffff;
  EXPECT_EQ(philox4x32({f, f, f, f}, {f, f}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, DependsOnEveryPartOfTheKeyAndNothingElse) {
  Random random(1, "a");
  uint64_t first = random.bits(2, 3);
  random.bits(9, 9);
  EXPECT_EQ(random.bits(2, 3), first);
  EXPECT_EQ(Random(1, "a").bits(2, 3), first);
  std::set<uint64_t> values{first,
                            Random(2, "a").bits(2, 3),
                            Random(1, "b").bits(2, 3),
                            random.bits(3, 3),
                            random.bits(2, 4),
                            random.bits(2 + (uint64_t{1} << 40), 3),
                            random.bits(2, 3 + (uint64_t{1} << 40)),
                            Random(1 + (uint64_t{1} << 40), "a").bits(2, 3)};
  EXPECT_EQ(values.size(), 8u);
}

TEST(Random, RangesAreKeptAtTheEnds) {
  EXPECT_EQ(Random::to_uniform(0), 0);
  EXPECT_LT(Random::to_uniform(UINT64_MAX), 1);
  EXPECT_EQ(Random::to_uniform(UINT64_MAX), 1 - 0x1p-53);
  EXPECT_GT(Random::to_uniform_open(0), 0);
  EXPECT_LT(Random::to_uniform_open(UINT64_MAX), 1);
  EXPECT_LT(-std::log(-std::log(Random::to_uniform_open(UINT64_MAX))), 40);
}

// The largest gap between the empirical law and U(0, 1): sqrt(n) D > 1.95 has probability 0.001.
double kolmogorov(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  double gap = 0, n = static_cast<double>(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    double at = static_cast<double>(i);
    gap = std::max({gap, samples[i] - at / n, (at + 1) / n - samples[i]});
  }
  return gap * std::sqrt(n);
}

TEST(Random, UniformAlongEveryPartOfTheKey) {
  Random random(3, "test");
  std::vector<double> a, b, seeds, normals, squared;
  for (uint64_t i = 0; i < 50000; ++i) {
    a.push_back(random.uniform(i, 5));
    b.push_back(Random::to_uniform_open(random.bits(5, i << 32)));
    seeds.push_back(Random(i, "test").uniform(0, 0));
    normals.push_back(std::erfc(-random.normal(i, 1) / std::sqrt(2.0)) / 2);
    squared.push_back(std::pow(random.uniform(i, 5), 1.05));
  }
  EXPECT_LT(kolmogorov(a), 1.95);
  EXPECT_LT(kolmogorov(b), 1.95);
  EXPECT_LT(kolmogorov(seeds), 1.95);
  EXPECT_LT(kolmogorov(normals), 1.95);
  EXPECT_GT(kolmogorov(squared), 1.95) << "negative control: the test sees a small bias";
}

TEST(Random, BelowCoversItsRangeEvenly) {
  Random random(4, "test");
  std::vector<int> counts(7);
  for (uint64_t i = 0; i < 70000; ++i) ++counts.at(random.below(7, i));
  double chi2 = 0;
  for (int count : counts) chi2 += std::pow(count - 10000, 2) / 10000.0;
  EXPECT_LT(chi2, 22.5);  // 0.001 at 6 degrees of freedom
  EXPECT_EQ(random.below(1, 5), 0u);
}

TEST(Permutation, IsABijectionForEverySize) {
  auto check = [](int64_t n) {
    Permutation order(n, 11, 2);
    std::vector<bool> seen(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      int64_t x = order(i);
      ASSERT_GE(x, 0);
      ASSERT_LT(x, n);
      ASSERT_FALSE(seen[static_cast<size_t>(x)]) << n;
      seen[static_cast<size_t>(x)] = true;
    }
  };
  for (int64_t n = 0; n < 300; ++n) check(n);
  for (int64_t n : {1023, 1024, 1025, 4097, 65536, 100003}) check(n);
  EXPECT_THROW(Permutation(-1, 0, 0), Error);
}

TEST(Permutation, HugeSizesStayInRange) {
  for (int64_t n : {int64_t{1} << 40, INT64_MAX}) {
    Permutation order(n, 1, 0);
    std::set<int64_t> seen;
    for (int64_t i = 0; i < 1000; ++i) seen.insert(order(n - 1 - i));
    EXPECT_EQ(seen.size(), 1000u);
    EXPECT_GE(*seen.begin(), 0);
    EXPECT_LT(*seen.rbegin(), n);
  }
}

TEST(Permutation, DependsOnSeedAndEpoch) {
  auto order = [](uint64_t seed, uint64_t epoch) {
    Permutation permutation(100, seed, epoch);
    std::vector<int64_t> out;
    for (int64_t i = 0; i < 100; ++i) out.push_back(permutation(i));
    return out;
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
  EXPECT_NE(order(1, 0), order(2, 0));
}

// All 24 orders of 4 items, and where item 0 of 50 lands, over many epochs.
TEST(Permutation, OrdersAreEvenlySpread) {
  std::vector<int> orders(256), places(50), successors(50);
  constexpr int kEpochs = 24000;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    Permutation small(4, 5, static_cast<uint64_t>(epoch));
    ++orders.at(static_cast<size_t>(small(0) + 4 * small(1) + 16 * small(2) + 64 * small(3)));
    Permutation large(50, 5, static_cast<uint64_t>(epoch));
    ++places.at(static_cast<size_t>(large(0)));
    ++successors.at(static_cast<size_t>((large(1) - large(0) + 50) % 50));
  }
  auto chi2 = [](const std::vector<int>& counts, double expected) {
    double sum = 0;
    for (int count : counts) {
      if (count > 0) sum += std::pow(count - expected, 2) / expected;
    }
    return sum;
  };
  EXPECT_EQ(std::count_if(orders.begin(), orders.end(), [](int count) { return count > 0; }), 24);
  EXPECT_LT(chi2(orders, kEpochs / 24.0), 49.7);      // 0.001 at 23 degrees of freedom
  EXPECT_LT(chi2(places, kEpochs / 50.0), 85.4);      // 49
  EXPECT_LT(chi2(successors, kEpochs / 49.0), 84.0);  // 48: 0 does not occur
}

}  // namespace
}  // namespace continuo
