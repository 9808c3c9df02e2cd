#include "core/error.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(Location, PrintsWhatIsKnown) {
  EXPECT_EQ(Location{}.str(), "");
  EXPECT_EQ((Location{"a.yaml"}).str(), "a.yaml");
  EXPECT_EQ((Location{"a.yaml", 3}).str(), "a.yaml:3");
  EXPECT_EQ((Location{"a.yaml", 3, 7}).str(), "a.yaml:3:7");
  EXPECT_EQ((Location{"a.yaml", 0, 7}).str(), "a.yaml");
  EXPECT_FALSE(Location{}.known());
}

TEST(Error, SaysWhatWhereAndHow) {
  EXPECT_STREQ(Error("broken").what(), "broken");
  EXPECT_STREQ(Error("broken", "mend it").what(), "broken\n  hint: mend it");
  EXPECT_STREQ(Error({"a.yaml", 3, 7}, "broken", "mend it").what(),
               "a.yaml:3:7: broken\n  hint: mend it");
}

TEST(Error, UsageHasItsOwnExitCode) {
  EXPECT_EQ(Error("x").exit_code(), 1);
  EXPECT_EQ(Error::usage("x").exit_code(), 2);
}

TEST(Error, FailFormats) {
  try {
    fail("{} of {}", 1, 2);
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "1 of 2");
  }
  EXPECT_THROW(fail("plain"), Error);
}

}  // namespace
}  // namespace continuo
