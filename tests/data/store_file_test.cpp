#include "data/store_file.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "support/data_fixture.h"

namespace continuo {
namespace {

const std::string kKey = "0123456789abcdef0123456789abcdef";

MaskedTokens example(size_t length, TokenId first) {
  MaskedTokens tokens;
  for (size_t i = 0; i < length; ++i) {
    tokens.tokens.push_back(first + static_cast<TokenId>(i));
    tokens.trained.push_back(i % 3 == 1);
  }
  return tokens;
}

std::vector<StoreReport> some_reports() {
  StoreReport report{.rows = 9,
                     .kept = 3,
                     .examples = 3,
                     .tokens = 18,
                     .trained = 7,
                     .truncated = 1,
                     .dropped = {}};
  report.dropped = {{"overlong", 4}, {"bad \"JSON\"", 2}};
  return {report, {}};
}

std::filesystem::path write_store(const test::TempDir& dir) {
  const auto path = dir / "store.examples";
  StoreWriter writer(path, kKey);
  writer.add(example(5, 100), 0, 1);
  writer.add(example(2, -7), 0, 3'000'000'000);
  writer.add(example(11, 2'000'000'000), 1, 9);
  writer.commit(some_reports());
  return path;
}

TEST(StoreFile, RoundTrip) {
  const test::TempDir dir;
  const StoreFile file(write_store(dir), kKey);
  ASSERT_EQ(file.size(), 3);
  for (const auto& [index, length, first] :
       {std::tuple{0, 5, 100}, {1, 2, -7}, {2, 11, 2'000'000'000}}) {
    const MaskedTokens expected = example(static_cast<size_t>(length), first);
    const ExampleView view = file.example(index);
    EXPECT_TRUE(std::equal(view.tokens.begin(), view.tokens.end(), expected.tokens.begin(),
                           expected.tokens.end()));
    EXPECT_TRUE(std::equal(view.trained.begin(), view.trained.end(), expected.trained.begin(),
                           expected.trained.end()));
  }
  EXPECT_EQ(file.entry(1).line, 3'000'000'000U);
  EXPECT_EQ(file.entry(2).source, 1U);
  EXPECT_EQ(file.reports(), some_reports());
}

TEST(StoreFile, WeightsAndGroups) {
  const test::TempDir dir;
  const auto path = dir / "store.examples";
  MaskedTokens weighted = example(5, 100);
  weighted.weights = {1, 0.5f, 2, 0, 3};
  StoreWriter writer(path, kKey);
  writer.add(weighted, 0, 1);
  writer.add(example(7, 1), 70'000, 1, /*joined=*/true);
  writer.commit(some_reports());
  const StoreFile file(path, kKey);
  const std::span<const float> weights = file.example(0).weights;
  EXPECT_TRUE(std::ranges::equal(weights, weighted.weights));
  EXPECT_EQ(file.example(0).tokens[4], 104);
  EXPECT_TRUE(file.example(1).weights.empty());
  EXPECT_EQ(file.example(1).tokens[6], 7);
  EXPECT_EQ(file.example(1).trained[1], 1);
  EXPECT_EQ(file.entry(1).source, 70'000U);
  EXPECT_FALSE(file.entry(0).joined);
  EXPECT_TRUE(file.entry(1).joined);
}

TEST(StoreFile, LargerThanTheWritersBuffers) {
  const test::TempDir dir;
  const auto path = dir / "store.examples";
  {
    StoreWriter writer(path, kKey);
    for (int i = 0; i < 60'000; ++i)
      writer.add(example(static_cast<size_t>(2 + i % 40), i), 0, i + 1);
    writer.commit({{}});
  }
  const StoreFile file(path, kKey);
  ASSERT_EQ(file.size(), 60'000);
  for (int64_t i = 0; i < file.size(); i += 97) {
    ASSERT_EQ(file.example(i).tokens.size(), static_cast<size_t>(2 + i % 40));
    ASSERT_EQ(file.example(i).tokens[0], i);
    ASSERT_EQ(file.example(i).trained[1], 1);
  }
}

TEST(StoreFile, WithoutCommitNothingIsLeft) {
  const test::TempDir dir;
  {
    StoreWriter(dir / "store.examples", kKey).add(example(5, 1), 0, 1);
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(StoreFile, AnEmptyStore) {
  const test::TempDir dir;
  StoreWriter(dir / "s", kKey).commit({});
  EXPECT_EQ(StoreFile(dir / "s", kKey).size(), 0);
}

TEST(StoreFile, DamageIsAnError) {
  const test::TempDir dir;
  const std::string whole = test::read_file(write_store(dir));
  const auto error = [&](const std::string& bytes) {
    const auto path = dir.write("damaged", bytes);
    return test::error_of([&] { StoreFile(path, kKey); });
  };
  EXPECT_EQ(error(whole), "");
  for (size_t length = 0; length < whole.size(); length += 3) {
    EXPECT_NE(error(whole.substr(0, length)), "") << "truncated to " << length;
  }
  EXPECT_NE(error(whole + "x").find("its size is wrong"), std::string::npos);
  const size_t examples_begin = 256;
  const size_t index_begin =
      whole.size() - reports_to_json(some_reports()).size() - 3 * sizeof(StoreEntry);
  for (size_t at = 0; at < whole.size(); ++at) {
    if (at >= examples_begin && at < index_begin) continue;  // the examples carry no checksum
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    EXPECT_NE(error(flipped), "") << "bit flipped at " << at;
  }
  const auto path = dir.write("other", whole);
  EXPECT_NE(
      test::error_of([&] { StoreFile(path, std::string(32, '0')); }).find("belongs to other data"),
      std::string::npos);
}

TEST(StoreReport, AddsAndSummarizes) {
  StoreReport total = some_reports()[0];
  total += some_reports()[0];
  EXPECT_EQ(total.rows, 18);
  EXPECT_EQ(total.dropped["overlong"], 8);
  EXPECT_EQ(summary(some_reports()[0]),
            "9 rows, 1 truncated, 6 dropped (2 bad \"JSON\", 4 overlong)");
  EXPECT_EQ(summary({}), "0 rows");
  EXPECT_NE(test::error_of([] { reports_from_json("[{}]"); }), "");
}

}  // namespace
}  // namespace continuo
