#include "train/metrics.h"

#include <cmath>
#include <limits>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::TempDir;

TEST(Metrics, OneLinePerStepInTheGivenOrder) {
  TempDir dir;
  MetricsLog log(dir / "metrics.jsonl");
  log.write(
      1,
      {{"loss", 2.5}, {"rows", int64_t{8}}, {"saved", true}, {"note", std::string("a\"b\n\xff")}});
  // Nothing waits in a buffer.
  EXPECT_EQ(
      test::read_file(dir / "metrics.jsonl"),
      "{\"step\":1,\"loss\":2.5,\"rows\":8,\"saved\":true,\"note\":\"a\\\"b\\n\xef\xbf\xbd\"}\n");
  log.write(2, {});
  log.sync();
  EXPECT_TRUE(test::read_file(dir / "metrics.jsonl").ends_with("}\n{\"step\":2}\n"));
}

TEST(Metrics, DoublesReadBackExactly) {
  for (double value : {0.1, 1.0 / 3, 1e300, -5e-324, 123456789.0, 3.0, -0.0, 1e16,
                       2.2250738585072014e-308, double{0.1F}, std::nextafter(1.0, 2.0)}) {
    const auto row = nlohmann::json::parse(metrics_line(0, {{"x", value}}));
    ASSERT_TRUE(row["x"].is_number_float()) << row.dump();
    EXPECT_EQ(row["x"].get<double>(), value);
  }
}

TEST(Metrics, NonFiniteValuesStayValidJson) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(metrics_line(3, {{"a", std::nan("")}, {"b", infinity}, {"c", -infinity}}),
            R"({"step":3,"a":"NaN","b":"Infinity","c":"-Infinity"})");
}

TEST(Metrics, ANewRunStartsEmpty) {
  TempDir dir;
  dir.write("metrics.jsonl", "{\"step\":1}\n");
  MetricsLog log(dir / "metrics.jsonl");
  EXPECT_EQ(test::read_file(dir / "metrics.jsonl"), "");
}

TEST(Metrics, ResumeDropsTheStepsThatComeAgain) {
  TempDir dir;
  const auto path = dir.write(
      "metrics.jsonl", "{\"step\":1}\n{\"step\":2,\"eval_loss\":1}\n{\"step\":2}\n{\"step\":3}\n");
  MetricsLog log(path, 3);
  EXPECT_EQ(test::read_file(path), "{\"step\":1}\n{\"step\":2,\"eval_loss\":1}\n{\"step\":2}\n");
  log.write(3, {});
  EXPECT_TRUE(test::read_file(path).ends_with("{\"step\":2}\n{\"step\":3}\n"));
}

TEST(Metrics, ResumeFromTheStartAndWithoutAFile) {
  TempDir dir;
  const auto path = dir.write("metrics.jsonl", "{\"step\":0}\n");
  MetricsLog again(path, 0);
  EXPECT_EQ(test::read_file(path), "");
  MetricsLog fresh(dir / "sub/other.jsonl", 5);
  EXPECT_EQ(test::read_file(dir / "sub/other.jsonl"), "");
}

TEST(Metrics, ResumeAfterEveryPossibleTear) {
  TempDir dir;
  const std::string whole = "{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"loss\":2.5}\n";
  const std::string first = whole.substr(0, whole.find('\n') + 1);
  for (size_t length = first.size(); length < whole.size(); ++length) {
    const auto path = dir.write("metrics.jsonl", whole.substr(0, length));
    MetricsLog log(path, 10);
    EXPECT_EQ(test::read_file(path), first) << length;
  }
}

TEST(Metrics, ResumeRemovesLinesItCannotRead) {
  TempDir dir;
  const auto path =
      dir.write("metrics.jsonl",
                "{\"step\":1}\nnonsense\n[1]\n{\"loss\":1}\n{\"step\":\"1\"}\n\n{\"step\":2}\n");
  MetricsLog log(path, 10);
  EXPECT_EQ(test::read_file(path), "{\"step\":1}\n{\"step\":2}\n");
}

TEST(Metrics, UnwritablePathIsAnError) {
  TempDir dir;
  EXPECT_THROW(MetricsLog(dir.path(), 1), Error);
}

}  // namespace
}  // namespace continuo
