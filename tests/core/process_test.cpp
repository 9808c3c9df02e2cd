#include "core/process.h"

#include <vector>

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(Process, TheClockNeverGoesBack) {
  double last = seconds_now();
  for (int i = 0; i < 1000; ++i) {
    const double now = seconds_now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(Process, PeakMemoryCountsBytesThatWereTouched) {
  const double before = peak_memory_bytes();
  constexpr size_t kSize = size_t{64} << 20;
  std::vector<char> block(kSize, 1);
  EXPECT_EQ(block[kSize - 1], 1);
  const double after = peak_memory_bytes();
  EXPECT_GE(after, static_cast<double>(kSize));
  EXPECT_GE(after, before);
  EXPECT_LT(after - before, 4.0 * kSize);  // bytes, not pages or KiB
}

TEST(Process, TheProcessorHasANameOfOneLine) {
  EXPECT_FALSE(cpu_name().empty());
  EXPECT_EQ(cpu_name().find('\n'), std::string::npos);
}

}  // namespace
}  // namespace continuo
