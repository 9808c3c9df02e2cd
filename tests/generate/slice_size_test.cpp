#include "generate/slice_size.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(SliceSize, LearnsWhatAPassCanBear) {
  SliceSize size;
  EXPECT_EQ(size.limit(3, 512), 16) << "nothing is known";
  EXPECT_EQ(size.limit(3, 4), 4);
  for (int i = 0; i < 30; ++i) size.observe(0, 0.050);
  for (int i = 0; i < 30; ++i) size.observe(10, 0.050 + 10 * 0.002);
  EXPECT_EQ(size.limit(3, 512), 20) << "twice as many as are known";
  size.observe(40, 0.050 + 40 * 0.002);
  EXPECT_NEAR(static_cast<double>(size.limit(3, 512)), 50, 1) << "100 ms more of 2 ms each";
  EXPECT_EQ(size.limit(1, 512), 1) << "never none";
  EXPECT_EQ(size.limit(1e9, 512), 80);
  size.observe(400, 0.050 + 400 * 0.002);
  EXPECT_EQ(size.limit(1e9, 512), 512);
  size.observe(1, 0.050 + 0.002);
  EXPECT_EQ(size.limit(1e9, 512), 400) << "the end of a prompt says little";

  SliceSize fast;
  fast.observe(0, 0.010);
  fast.observe(10, 0.010 + 10 * 0.002);
  EXPECT_NEAR(static_cast<double>(fast.limit(1, 512)), 15, 1) << "40 ms are not noticed";
  SliceSize slow;
  slow.observe(0, 0.020);
  slow.observe(10, 0.020 + 10 * 0.002);
  EXPECT_NEAR(static_cast<double>(slow.limit(1, 512)), 13, 1) << "nor are 47, for what is slow";
}

// A machine that stands still now and then must not make slices so short that what a token costs
// cannot be told from what passes vary by.
TEST(SliceSize, SurvivesPassesThatTookTooLong) {
  SliceSize size;
  size.observe(0, 0.010);
  const auto settled = [&] {
    for (int i = 0; i < 20; ++i) {
      const int64_t slice = size.limit(2.2, 512);
      size.observe(slice, 0.010 + 0.002 * static_cast<double>(slice));
    }
    return size.limit(2.2, 512);
  };
  const int64_t before = settled();
  EXPECT_NEAR(static_cast<double>(before), 15, 1);
  size.observe(2, 0.024);
  EXPECT_GT(size.limit(2.2, 512), before / 2) << "a token seemed to cost 7 ms";
  EXPECT_NEAR(static_cast<double>(settled()), 15, 1);
}

}  // namespace
}  // namespace continuo
