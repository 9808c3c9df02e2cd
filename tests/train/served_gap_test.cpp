#include "train/served_gap.h"

#include <cmath>

#include <gtest/gtest.h>

#include "nn/executor.h"
#include "nn/served_decoder.h"
#include "support/backend.h"
#include "support/training.h"
#include "train/evaluator.h"

namespace continuo {
namespace {

TEST(ServedGap, IsThatOfTheTokensOfSoManyRows) {
  const test::TempDir directory;
  const auto store = test::byte_store(directory, 23);
  const auto model = test::tiny_model(test::byte_model_spec());
  const int64_t tokens = evaluate(*model, *store, 64).tokens;
  const ServedGap none = served_gap(*model, *model, *store, 64, 1000);
  EXPECT_EQ(none.tokens, tokens);
  EXPECT_EQ(none.max, 0);
  const ServedGap some = served_gap(*model, *model, *store, 1, 5);
  EXPECT_GT(some.tokens, 0);
  EXPECT_LT(some.tokens, tokens);

  ServedDecoder exact(make_executor(model, {}));
  EXPECT_LT(served_gap(*model, exact, *store, 64, 1000).max, 1e-3);
  ServedDecoder narrow(make_executor(model, {.weights = WeightFormat::q4}));
  const ServedGap gap = served_gap(*model, narrow, *store, 64, 1000);
  EXPECT_EQ(gap.tokens, tokens);
  EXPECT_GT(gap.mean, 1e-3);
  EXPECT_GT(gap.max, gap.mean);
  // The mean of |Δ| is at least |mean of Δ|.
  const double losses =
      std::abs(evaluate(narrow, *store, 64).loss() - evaluate(*model, *store, 64).loss());
  EXPECT_GE(gap.mean, losses - 1e-6);
}

}  // namespace
}  // namespace continuo
