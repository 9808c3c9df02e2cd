#include "core/suggest.h"

#include <vector>

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(EditDistance, HandComputed) {
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("steps", "stpes"), 1u);
  EXPECT_EQ(edit_distance("Top-K", "top_k"), 0u);
}

TEST(DidYouMean, OnlySlips) {
  std::vector<std::string> names{"lr", "steps", "decay", "warmup"};
  EXPECT_EQ(closest_name("step", names), "steps");
  EXPECT_EQ(closest_name("rl", names), "lr");
  EXPECT_EQ(closest_name("learning_rate", names), std::nullopt);
  EXPECT_EQ(closest_name("", names), std::nullopt);
  EXPECT_EQ(did_you_mean("warmpu", names), "did you mean warmup?");
  EXPECT_EQ(did_you_mean("zebra", names), "known here: lr, steps, decay, warmup");
  EXPECT_EQ(did_you_mean("zebra", {}), "");
  EXPECT_EQ(did_you_mean("zebra", std::vector<std::string>(50, "x")), "");
}

}  // namespace
}  // namespace continuo
