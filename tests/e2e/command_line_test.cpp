// What `continuo` says of itself, without a model.
#include <gtest/gtest.h>

#include "e2e/binary.h"

namespace continuo {
namespace {

TEST(CommandLine, TheVersionNamesWhatDecidesTheBits) {
  const TempDir directory;
  const Outcome outcome = run(directory, {"--version"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(outcome.out.starts_with("continuo " CONTINUO_VERSION "\nLibTorch 2.")) << outcome.out;
  EXPECT_NE(outcome.out.find("\ninstruction set "), std::string::npos) << outcome.out;
}

}  // namespace
}  // namespace continuo
