#include "data/store_statistics.h"

#include <gtest/gtest.h>

#include "support/data_fixture.h"

namespace continuo {
namespace {

TEST(StoreStatistics, ByHand) {
  const test::TempDir dir;
  // A record of q and a has |q| + |a| + 2 tokens, |a| + 1 of them trained.
  std::string rows;
  for (int length = 1; length <= 20; ++length)
    rows += test::record("", std::string(static_cast<size_t>(length), 'x'));
  const auto store = test::open_store(test::data_config(dir, {dir.write("rows.jsonl", rows)}));
  const StoreStatistics stats = store_statistics(*store, 2, 4);
  EXPECT_EQ(stats.examples, 20);
  EXPECT_EQ(stats.tokens, 20 * 21 / 2 + 40);
  EXPECT_EQ(stats.trained, 20 * 21 / 2 + 20);
  EXPECT_EQ(stats.eos_trained, 20);
  EXPECT_EQ(stats.shortest, 3);
  EXPECT_EQ(stats.median, 12);  // the 10th of 20: length 10 + 2
  EXPECT_EQ(stats.p95, 21);     // the 19th
  EXPECT_EQ(stats.longest, 22);
  ASSERT_EQ(stats.histogram.size(), 4U);
  for (const LengthBin& bin : stats.histogram) EXPECT_EQ(bin.count, 5);
  EXPECT_EQ(stats.histogram.back().high, 22);
  EXPECT_EQ(store_statistics(*store, std::nullopt).eos_trained, 0);
}

TEST(StoreStatistics, PiecesOfTextEndWithoutEndOfSequence) {
  const test::TempDir dir;
  const auto store =
      test::open_store(test::data_config(dir, {dir.write("book.txt", "abcdefgh")}), 4);
  const StoreStatistics stats = store_statistics(*store, 2);
  EXPECT_EQ(stats.examples, 2);
  EXPECT_EQ(stats.eos_trained, 1);
  EXPECT_EQ(stats.trained, 8);
}

}  // namespace
}  // namespace continuo
