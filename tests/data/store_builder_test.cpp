#include "data/store_builder.h"

#include <gtest/gtest.h>

#include "data/store_file.h"
#include "support/data_fixture.h"

namespace continuo {
namespace {

std::vector<Segment> segments(const std::string& prompt, const std::string& completion) {
  return {{.text = prompt}, {.text = completion, .trained = true}};
}

TEST(HeldOut, TakesTheShareOfRowsAndAlwaysTheSameOnes) {
  int64_t held = 0;
  constexpr int64_t kRows = 20000;
  for (int64_t i = 0; i < kRows; ++i) {
    const auto row = segments("question " + std::to_string(i), "answer");
    const bool out = held_out(row, 0.1);
    EXPECT_EQ(out, held_out(row, 0.1));
    // A larger share holds out the same rows and more.
    EXPECT_TRUE(!out || held_out(row, 0.2));
    held += out;
  }
  EXPECT_NEAR(static_cast<double>(held) / kRows, 0.1, 0.01);
}

TEST(HeldOut, NothingAndEverything) {
  EXPECT_FALSE(held_out(segments("a", "b"), 0));
  EXPECT_TRUE(held_out(segments("a", "b"), 1));
}

TEST(HeldOut, DependsOnTheBoundariesOfSegmentsToo) {
  int64_t different = 0;
  for (int64_t i = 0; i < 200; ++i) {
    const std::string n = std::to_string(i);
    different += held_out(segments("ab" + n, "c"), 0.5) != held_out(segments("ab", n + "c"), 0.5);
  }
  EXPECT_GT(different, 50);
}

TEST(BuildStore, AFaultyRowLeavesNoFile) {
  const test::TempDir dir;
  const auto file = dir.write("rows.jsonl", test::record("a", "b") + "oops\n");
  DataSource source;
  source.path = file.string();
  source.format = RowFormat::kRecords;
  const StorePlan plan{.sources = {source}, .context = 100};
  EXPECT_THROW(
      build_store(plan, test::ByteTokenizer(), test::record_template(), dir / "store", "key"),
      Error);
  EXPECT_FALSE(std::filesystem::exists(dir / "store"));
}

}  // namespace
}  // namespace continuo
