#include "generate/slice_size.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(SliceSize, LearnsWhatAPassCanBear) {
  SliceSize size;
  EXPECT_EQ(size.limit(3, 512), 0) << "nothing is known, and asking tells";
  for (int i = 0; i < 30; ++i) size.observe(0, 0.050);
  EXPECT_EQ(size.limit(3, 512), 16) << "no slice was seen";
  EXPECT_EQ(size.limit(3, 4), 4);
  for (int i = 0; i < 15; ++i) size.observe(10, 0.050 + 10 * 0.002);
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
  EXPECT_NEAR(static_cast<double>(fast.limit(1, 512)), 11, 1) << "33 ms are not noticed";
  SliceSize slow;
  slow.observe(0, 0.020);
  slow.observe(10, 0.020 + 10 * 0.002);
  EXPECT_NEAR(static_cast<double>(slow.limit(1, 512)), 13, 1) << "nor are 47, for what is slow";
}

// What the next pass takes on a machine where one without prompts takes `alone` seconds and a token
// of a slice `token`. → its slice
int64_t run_pass(SliceSize& size, double alone, double token) {
  const int64_t slice = size.limit(2.2, 512);
  size.observe(slice, alone + token * static_cast<double>(slice));
  return slice;
}

std::vector<int64_t> run_passes(SliceSize& size, int count, double alone, double token) {
  std::vector<int64_t> slices;
  for (int i = 0; i < count; ++i) slices.push_back(run_pass(size, alone, token));
  return slices;
}

// A machine that stands still now and then must not make slices so short that what a token costs
// cannot be told from what passes vary by.
TEST(SliceSize, SurvivesPassesThatTookTooLong) {
  SliceSize size;
  size.observe(0, 0.010);
  EXPECT_NEAR(static_cast<double>(run_passes(size, 20, 0.010, 0.002).back()), 11, 1);
  size.observe(2, 0.024);
  EXPECT_EQ(run_pass(size, 0.010, 0.002), 0) << "is the machine slower, or are tokens dearer?";
  EXPECT_GT(run_pass(size, 0.010, 0.002), 5) << "a token seemed to cost 7 ms";
  EXPECT_NEAR(static_cast<double>(run_passes(size, 20, 0.010, 0.002).back()), 11, 1);
}

// Where tokens took the blame slices shrank to one, pass after pass.
TEST(SliceSize, ASlowerMachineIsNoDearerToken) {
  SliceSize size;
  size.observe(0, 0.025);
  const auto before = static_cast<double>(run_passes(size, 30, 0.025, 0.002).back());
  EXPECT_NEAR(before, 15, 1);
  const auto slow = run_passes(size, 100, 0.047, 0.0038);
  EXPECT_LE(std::ranges::count(slow, 0), 8) << "few passes ask";
  for (size_t i = 8; i < slow.size(); ++i) {
    EXPECT_TRUE(slow[i] == 0 || static_cast<double>(slow[i]) >= 0.3 * before) << i;
  }
  EXPECT_NEAR(static_cast<double>(run_passes(size, 50, 0.025, 0.002).back()), before, 2);
}

// As those of a long prompt do, from slice to slice.
TEST(SliceSize, FollowsTokensThatBecomeDearer) {
  SliceSize size;
  size.observe(0, 0.025);
  run_passes(size, 30, 0.025, 0.002);
  double longest = 0;
  for (int i = 0; i < 200; ++i) {
    const double token = 0.002 + 0.00001 * i;
    longest = std::max(longest, 0.025 + token * static_cast<double>(run_pass(size, 0.025, token)));
  }
  EXPECT_LT(longest, 2.4 * 0.025);
  EXPECT_NEAR(static_cast<double>(std::ranges::max(run_passes(size, 4, 0.025, 0.004))), 7.5, 1);
}

}  // namespace
}  // namespace continuo
