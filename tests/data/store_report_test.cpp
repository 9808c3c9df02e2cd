#include "data/store_report.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace continuo {
namespace {

StoreReport sample() {
  return {.rows = 10,
          .kept = 7,
          .examples = 8,
          .tokens = 100,
          .trained = 40,
          .truncated = 2,
          .revised = 3,
          .dropped = {{"overlong", 2}, {"bad JSON", 1}}};
}

TEST(StoreReport, JsonReadsBackToTheSameReports) {
  const std::vector<StoreReport> reports = {sample(), {}};
  EXPECT_EQ(reports_from_json(reports_to_json(reports)), reports);
}

TEST(StoreReport, OtherJsonIsAnError) {
  for (const char* bad : {"", "{", "[1]", "[{}]", R"([{"rows": "x"}])"}) {
    test::expect_error([&] { reports_from_json(bad); }, {"bad report"});
  }
}

TEST(StoreReport, SumsAddReasonByReason) {
  StoreReport total = sample();
  StoreReport more;
  more.rows = 1;
  more.dropped = {{"overlong", 1}, {"missing field", 3}};
  total += more;
  EXPECT_EQ(total.rows, 11);
  EXPECT_EQ(total.dropped, (std::map<std::string, int64_t>{
                               {"overlong", 3}, {"bad JSON", 1}, {"missing field", 3}}));
}

TEST(StoreReport, TheSummarySaysWhatWasLostAndWhy) {
  EXPECT_EQ(summary(sample()), "10 rows, 2 truncated, 3 dropped (1 bad JSON, 2 overlong)");
  StoreReport plain;
  plain.rows = 5;
  EXPECT_EQ(summary(plain), "5 rows");
}

}  // namespace
}  // namespace continuo
