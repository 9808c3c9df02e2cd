// The kernels over a row of logits against double precision, for every instruction set and odd
// lengths.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "core/random.h"
#include "nn/cpu/kernels/kernels.h"

namespace continuo {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int64_t kLengths[] = {1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 1000, 4097, 50000};

std::vector<float> bell(int64_t n, double spread, double offset = 0) {
  const Random random(7, "row kernels");
  std::vector<float> row(static_cast<size_t>(n));
  for (size_t i = 0; i < row.size(); ++i)
    row[i] = static_cast<float>(spread * random.normal(n, i) + offset);
  return row;
}

class RowKernelTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const Kernels* table = kernels_for(GetParam());
    if (!table) GTEST_SKIP() << GetParam() << " is not there";
    k = &table->row;
  }
  const RowKernels* k = nullptr;
};

TEST_P(RowKernelTest, SummaryFindsMaximaAndCountsWhatLives) {
  for (const int64_t n : kLengths) {
    std::vector<float> row = bell(n, 3);
    int64_t live = n;
    for (int64_t i = 1; i < n; i += 5) row[i] = -kInf, --live;
    std::vector<float> blocks(row_blocks(n));
    const RowSummary s = k->summary(n, row.data(), blocks.data());
    EXPECT_FALSE(s.faulty);
    EXPECT_EQ(s.live, live);
    EXPECT_EQ(s.max, *std::max_element(row.begin(), row.end()));
    for (int64_t b = 0; b < std::ssize(blocks); ++b) {
      const auto begin = row.begin() + b * kRowBlock,
                 end = row.begin() + std::min(n, (b + 1) * kRowBlock);
      EXPECT_EQ(blocks[b], *std::max_element(begin, end));
    }
  }
}

TEST_P(RowKernelTest, SummarySeesEveryFault) {
  for (const int64_t n : {1, 16, 65, 1000}) {
    for (int64_t i = 0; i < n; i += 3) {
      for (const float fault : {kInf, std::numeric_limits<float>::quiet_NaN()}) {
        std::vector<float> row = bell(n, 3), blocks(row_blocks(n));
        row[i] = fault;
        EXPECT_TRUE(k->summary(n, row.data(), blocks.data()).faulty)
            << n << " " << i << " " << fault;
      }
    }
  }
}

TEST_P(RowKernelTest, ReachingFindsAllTokensAtOrAboveTheBar) {
  for (const int64_t n : kLengths) {
    std::vector<float> row = bell(n, 3), blocks(row_blocks(n));
    for (int64_t i = 1; i < n; i += 5) row[i] = -kInf;
    k->summary(n, row.data(), blocks.data());
    for (const float bar :
         {-kInf, std::numeric_limits<float>::lowest(), -1.0f, row[n / 2], 5.0f, 1e9f}) {
      std::vector<int32_t> wanted, hits(n + 1);
      for (int64_t i = 0; i < n; ++i) {
        if (row[i] >= bar) wanted.push_back(static_cast<int32_t>(i));
      }
      hits.resize(k->reaching(n, row.data(), blocks.data(), bar, hits.data()));
      EXPECT_EQ(hits, wanted) << n << " " << bar;
    }
  }
}

TEST_P(RowKernelTest, ExpSumsKeepTheirBound) {
  for (const int64_t n : kLengths) {
    for (const double spread : {0.0, 0.1, 1.0, 4.0, 30.0}) {
      for (const double scale : {1.0, 1 / 0.7, 0.4}) {
        std::vector<float> row = bell(n, spread, 20 * spread);
        if (n > 3) row[n / 2] = -kInf;
        const float max = *std::max_element(row.begin(), row.end());
        long double sum = 0, weighted = 0;
        for (const float x : row) {
          const long double y = (static_cast<long double>(x) - max) * scale;
          if (x == -kInf) continue;
          sum += std::exp(y);
          weighted += y * std::exp(y);
        }
        const ExpSums s = k->exp_sums(n, row.data(), max, static_cast<float>(scale), true);
        EXPECT_NEAR(s.sum / static_cast<double>(sum), 1, 2e-6)
            << n << " " << spread << " " << scale;
        EXPECT_NEAR(s.weighted, static_cast<double>(weighted),
                    2e-6 * static_cast<double>(sum - weighted) + 1e-30);
        const ExpSums plain = k->exp_sums(n, row.data(), max, static_cast<float>(scale), false);
        EXPECT_EQ(plain.sum, s.sum);
        EXPECT_EQ(plain.weighted, 0);
      }
    }
  }
}

TEST_P(RowKernelTest, ExpSumsOfAFlatRowAreExact) {
  const std::vector<float> row(100001, 88.0f);
  EXPECT_EQ(k->exp_sums(100001, row.data(), 88, 1, true).sum, 100001);
}

TEST_P(RowKernelTest, DeviationsAreThoseOfDoubles) {
  for (const int64_t n : kLengths) {
    std::vector<float> row = bell(n, 3, 5);
    if (n > 3) row[n / 2] = -kInf;
    long double sum = 0, squares = 0;
    for (const float x : row) {
      if (x == -kInf) continue;
      sum += x - 4.5L;
      squares += (x - 4.5L) * (x - 4.5L);
    }
    const DeviationSums s = k->deviations(n, row.data(), 4.5);
    EXPECT_NEAR(s.sum, static_cast<double>(sum), 1e-12 * static_cast<double>(squares));
    EXPECT_NEAR(s.squares, static_cast<double>(squares), 1e-12 * static_cast<double>(squares));
  }
}

TEST_P(RowKernelTest, GumbelHitsNameEveryTokenThatCouldWinAndFewOthers) {
  const Random random(3, "tokens");
  const NoiseKey key{{random.key()[0], random.key()[1]}, (uint64_t{5} << 32) + 9};
  int64_t named = 0, needed = 0;
  for (const int64_t n : {1, 2, 15, 16, 17, 33, 1000, 20000}) {
    for (const double t : {0.5, 1.0, 3.0}) {
      for (const int64_t first : {0, 4096}) {
        std::vector<float> row = bell(n, 3);
        if (n > 20) row[4] = -kInf;
        const float max = *std::max_element(row.begin(), row.end());
        std::vector<double> values;
        for (int64_t i = 0; i < n; ++i) {
          const auto token = static_cast<uint64_t>(first + i);
          const double u =
              Random::to_uniform_open(random.block(key.position, token >> 1)[token & 1]);
          values.push_back((static_cast<double>(row[i]) - max) / t - std::log(-std::log(u)));
        }
        std::vector<double> order = values;
        std::sort(order.rbegin(), order.rend());
        const double bar = order[std::min<size_t>(2, order.size() - 1)];
        std::vector<int32_t> hits(n + 1);
        hits.resize(k->gumbel_hits({.first = first,
                                    .n = n,
                                    .x = row.data(),
                                    .max = max,
                                    .scale = static_cast<float>(1 / t),
                                    .bar = static_cast<float>(bar),
                                    .key = key},
                                   hits.data()));
        EXPECT_TRUE(std::is_sorted(hits.begin(), hits.end()));
        for (int64_t i = 0; i < n; ++i) {
          const bool is_named = std::binary_search(hits.begin(), hits.end(), i);
          EXPECT_TRUE(is_named || values[i] < bar) << n << " " << i;
        }
        named += std::ssize(hits);
        needed += std::count_if(values.begin(), values.end(), [&](double v) { return v >= bar; });
      }
    }
  }
  EXPECT_LT(named, 2 * needed);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, RowKernelTest, testing::ValuesIn(kInstructionSets));

}  // namespace
}  // namespace continuo
