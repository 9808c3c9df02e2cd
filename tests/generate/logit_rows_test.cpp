// Logits of a pass, on the device of the tests.
#include "generate/logit_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "support/backend.h"

namespace continuo {
namespace {

TEST(LogitRows, HandOverEachRowAndOfADeviceItsMostProbableTokens) {
  const int64_t vocabulary = 3000, width = 3008;
  at::Tensor logits = at::randn({5, width}) * 4;
  logits[2].narrow(0, 20, 400).fill_(30);  // more than are handed over share the highest
  const at::Tensor there = logits.to(test::device());
  const LogitRows all(there, vocabulary), rows = all.from(1);
  for (int64_t r = 0; r < 4; ++r) {
    const at::Tensor expected = logits[r + 1];
    const LogitRow row = rows.row(r);
    const std::span<const float> whole = row.whole();
    ASSERT_EQ(std::ssize(whole), width);
    EXPECT_TRUE(std::equal(whole.begin(), whole.end(), expected.const_data_ptr<float>()));
    EXPECT_EQ(row.top != nullptr, !there.is_cpu());
    if (!row.top) continue;
    EXPECT_EQ(row.top->size, static_cast<size_t>(vocabulary));
    EXPECT_EQ(row.top->items.size(), r == 1 ? 0u : 255u);
    EXPECT_TRUE(std::ranges::is_sorted(row.top->items, {}, &Candidate::id));
    for (const Candidate& c : row.top->items) EXPECT_EQ(c.logit, expected[c.id].item<float>());
    const auto above = std::count_if(whole.begin(), whole.begin() + vocabulary,
                                     [&](float x) { return x > row.top->bound; });
    EXPECT_EQ(above, std::ssize(row.top->items));
    if (row.top->items.empty()) continue;
    const TokenId first = row.top->items.front().id;
    EXPECT_NEAR(row.top->raw_logprob(first), at::log_softmax(expected, 0)[first].item<double>(),
                1e-5);
    EXPECT_LE(row.top->log_sum, row.top->raw_log_sum);
  }
}

TEST(LogitRows, RowsThatAreFaultyOrShortAreHandedOverWhole) {
  at::Tensor logits = at::randn({2, 3000});
  logits[1][7] = std::numeric_limits<float>::quiet_NaN();
  const LogitRows rows(logits.to(test::device()), 3000);
  EXPECT_EQ(rows.row(1).top, nullptr);
  EXPECT_TRUE(std::isnan(rows.row(1).whole()[7]));
  const LogitRows few(at::randn({1, 300}).to(test::device()), 300);
  EXPECT_EQ(few.row(0).top, nullptr);
  EXPECT_EQ(few.row(0).whole().size(), 300u);
  EXPECT_FALSE(LogitRows({}, 300).defined());
}

}  // namespace
}  // namespace continuo
