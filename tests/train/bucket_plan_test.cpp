#include "train/bucket_plan.h"

#include <set>

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(BucketPlan, HoldsEveryParameterOnceFromTheLastToTheFirst) {
  const std::vector<PlannedParameter> parameters = {{5000, true},      {17, false}, {300, true},
                                                    {200, true, true}, {17, false}, {300, true},
                                                    {100, true, true}, {1, false}};
  for (const int64_t ranks : {1, 2, 3, 7}) {
    const auto buckets = plan_buckets(parameters, ranks, 600);
    std::set<size_t> seen;
    for (const Bucket& bucket : buckets) {
      EXPECT_EQ(bucket.size % (16 * ranks), 0);
      int64_t end = 0;
      for (size_t i = 0; i < bucket.pieces.size(); ++i) {
        const BucketPiece& piece = bucket.pieces[i];
        EXPECT_TRUE(seen.insert(piece.parameter).second);
        EXPECT_EQ(piece.count, parameters[piece.parameter].count);
        EXPECT_EQ(bucket.decays, parameters[piece.parameter].decays);
        EXPECT_EQ(bucket.rounded, parameters[piece.parameter].rounded);
        EXPECT_EQ(piece.at % 16, 0);
        EXPECT_GE(piece.at, end);
        if (i > 0) {
          EXPECT_LT(piece.parameter, bucket.pieces[i - 1].parameter);
        }
        end = piece.at + piece.count;
      }
      EXPECT_GE(bucket.size, end);
      EXPECT_LT(bucket.size - end, 16 * (ranks + 1));
    }
    EXPECT_EQ(seen.size(), parameters.size());
  }
}

TEST(BucketPlan, ABucketEndsWhereTheNextParameterWouldBeTooMuch) {
  const std::vector<PlannedParameter> parameters(5, {100, true});
  const auto buckets = plan_buckets(parameters, 1, 250);
  ASSERT_EQ(buckets.size(), 3u);
  EXPECT_EQ(buckets[0].pieces.size(), 2u);
  EXPECT_EQ(buckets[2].pieces.size(), 1u);
  EXPECT_TRUE(plan_buckets({}, 2, 250).empty());
}

}  // namespace
}  // namespace continuo
