#include "data/example_stream.h"

#include <algorithm>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "data/store_file.h"
#include "support/data_fixture.h"

namespace continuo {
namespace {

class ExampleStreamTest : public testing::Test {
 protected:
  // Sources of the given numbers of rows.
  std::shared_ptr<const ExampleStore> store(const std::vector<int>& counts) {
    std::vector<std::filesystem::path> files;
    int first = 0;
    for (const int count : counts) {
      files.push_back(
          dir_.write(std::to_string(files.size()) + ".jsonl", test::records(count, first)));
      first += count;
    }
    return test::open_store(test::data_config(dir_, files));
  }

  test::TempDir dir_;
};

std::vector<int64_t> flat(const StepRows& step) {
  std::vector<int64_t> rows;
  for (const auto& micro_batch : step.micro_batches)
    rows.insert(rows.end(), micro_batch.begin(), micro_batch.end());
  return rows;
}

std::vector<int64_t> epoch_order(const ExampleStream& stream, int64_t epoch) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < stream.epoch_size(); ++i) rows.push_back(stream.group({epoch, i}));
  return rows;
}

std::vector<int64_t> sorted(std::vector<int64_t> rows) {
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::vector<int64_t> up_to(int64_t count) {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

// The examples of row r are a group where `sizes[r]` says so: a store whose file is written anew.
std::shared_ptr<const ExampleStore> grouped_store(const test::TempDir& dir,
                                                  const std::vector<int>& sizes) {
  const int count = std::accumulate(sizes.begin(), sizes.end(), 0);
  const DataConfig config = test::data_config(dir, {dir.write("g.jsonl", test::records(count))});
  const auto single = test::open_store(config);
  StoreWriter writer(std::filesystem::path(config.cache) / (single->hash() + ".examples"),
                     single->hash());
  int64_t row = 0;
  for (const int size : sizes) {
    for (int i = 0; i < size; ++i, ++row) {
      const ExampleView view = (*single)[row];
      writer.add(
          {{view.tokens.begin(), view.tokens.end()}, {view.trained.begin(), view.trained.end()}}, 0,
          row + 1, /*joined=*/i > 0);
    }
  }
  writer.commit({single->report()});
  return test::open_store(config);
}

TEST_F(ExampleStreamTest, GroupsAreNeverParted) {
  const std::vector<int> sizes = {2, 1, 3, 2, 2, 1, 4, 2, 1, 2};
  const auto data = grouped_store(dir_, sizes);
  ASSERT_EQ(data->groups(), std::ssize(sizes));
  EXPECT_EQ(data->size(), 20);
  EXPECT_EQ(data->group_range(2), (std::pair<int64_t, int64_t>{3, 6}));
  EXPECT_EQ(data->group(5), 2);
  EXPECT_EQ(data->source_groups(0), (std::pair<int64_t, int64_t>{0, 10}));
  // Too small for some groups: these get a micro-batch of their own.
  ExampleStream stream(data, {}, {.rows = 3, .micro_tokens = 80, .seed = 5});
  EXPECT_EQ(stream.epoch_size(), 10);
  std::vector<int64_t> seen;
  while (stream.cursor().epoch == 0) {
    const StepRows step = stream.next();
    for (const std::vector<int64_t>& rows : step.micro_batches) {
      for (size_t i = 0; i < rows.size();) {
        const auto [begin, end] = data->group_range(data->group(rows[i]));
        for (int64_t row = begin; row < end; ++row, ++i) {
          ASSERT_LT(i, rows.size());
          EXPECT_EQ(rows[i], row);
        }
      }
    }
    const std::vector<int64_t> rows = flat(step);
    seen.insert(seen.end(), rows.begin(), rows.end());
  }
  EXPECT_EQ(sorted(seen), up_to(20));
}

TEST_F(ExampleStreamTest, EveryRowOncePerEpoch) {
  ExampleStream stream(store({31, 20}), {}, {.rows = 8, .micro_tokens = 100});
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> rows;
    for (int step = 0; step < 7; ++step) {
      EXPECT_EQ(stream.cursor(), (StreamCursor{epoch, step * 8}));
      const StepRows next = stream.next();
      EXPECT_EQ(next.epoch, epoch);
      EXPECT_EQ(flat(next).size(), step < 6 ? 8U : 3U) << "a step never crosses epochs";
      for (const int64_t row : flat(next)) rows.push_back(row);
    }
    EXPECT_EQ(sorted(rows), up_to(51));
  }
}

TEST_F(ExampleStreamTest, OrderIsAFunctionOfSeedAndEpoch) {
  const auto data = store({60});
  const ExampleStream a(data, {}, {.seed = 1}), b(data, {}, {.seed = 1}), c(data, {}, {.seed = 2});
  EXPECT_EQ(epoch_order(a, 0), epoch_order(b, 0));
  EXPECT_NE(epoch_order(a, 0), epoch_order(a, 1));
  EXPECT_NE(epoch_order(a, 0), epoch_order(c, 0));
  EXPECT_NE(epoch_order(a, 0), up_to(60));
  const ExampleStream plain(data, {}, {.shuffle = false});
  EXPECT_EQ(epoch_order(plain, 0), up_to(60));
  EXPECT_EQ(epoch_order(plain, 5), up_to(60));
}

TEST_F(ExampleStreamTest, SeekEqualsContinuing) {
  const auto data = store({37, 5});
  for (const BatchConfig config :
       {BatchConfig{.rows = 4, .micro_tokens = 64}, BatchConfig{.rows = 0, .tokens = 150},
        BatchConfig{.rows = 5, .tokens = 120, .seed = 3}}) {
    ExampleStream stream(data, {1.5, 2}, config);
    for (int step = 0; step < 40; ++step) {
      ExampleStream fresh(data, {1.5, 2}, config);
      fresh.seek(stream.cursor());
      EXPECT_EQ(fresh.next().micro_batches, stream.next().micro_batches);
      EXPECT_EQ(fresh.cursor(), stream.cursor());
    }
    EXPECT_GT(stream.cursor().epoch, 0);
  }
}

TEST_F(ExampleStreamTest, SeekChecks) {
  ExampleStream stream(store({10}), {}, {.rows = 4});
  stream.seek({2, 10});
  EXPECT_EQ(stream.cursor(), (StreamCursor{3, 0}));
  EXPECT_NE(test::error_of([&] { stream.seek({0, 11}); }).find("an epoch has 10 rows"),
            std::string::npos);
  EXPECT_NE(test::error_of([&] { stream.seek({0, -1}); }), "");
  EXPECT_NE(test::error_of([&] { stream.seek({-1, 0}); }), "");
}

TEST_F(ExampleStreamTest, Weights) {
  const auto data = store({10, 9});
  const ExampleStream stream(data, {2.5, 0.334}, {.rows = 4});
  EXPECT_EQ(stream.epoch_size(), 25 + 3);
  std::vector<std::vector<int64_t>> extras;
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    std::map<int64_t, int> counts;
    for (const int64_t row : epoch_order(stream, epoch)) ++counts[row];
    std::vector<int64_t> extra;
    for (int64_t row = 0; row < 10; ++row) {
      EXPECT_TRUE(counts[row] == 2 || counts[row] == 3);
      if (counts[row] == 3) extra.push_back(row);
    }
    EXPECT_EQ(extra.size(), 5U) << "half of the rows a third time, each at most once";
    for (int64_t row = 10; row < 19; ++row) EXPECT_LE(counts[row], 1);
    extras.push_back(extra);
  }
  EXPECT_TRUE(extras[0] != extras[1] || extras[1] != extras[2]) << "a fresh subset each epoch";
  const ExampleStream without(data, {1, 0}, {.rows = 4});
  EXPECT_EQ(sorted(epoch_order(without, 0)), up_to(10));
}

TEST_F(ExampleStreamTest, BudgetsOfAStep) {
  const auto data = store({50});
  const auto positions = [&](const std::vector<int64_t>& rows) {
    int64_t sum = 0;
    for (const int64_t row : rows) sum += data->length(row) - 1;
    return sum;
  };
  ExampleStream by_tokens(data, {}, {.rows = 0, .tokens = 200});
  ExampleStream by_both(data, {}, {.rows = 3, .tokens = 120});
  bool rows_ended = false, tokens_ended = false;
  while (by_tokens.cursor().epoch == 0) {
    const std::vector<int64_t> rows = flat(by_tokens.next());
    EXPECT_LE(positions(rows), 200);
    const StreamCursor at = by_tokens.cursor();
    if (at.epoch > 0) break;
    EXPECT_GT(positions(rows) + data->length(by_tokens.group(at)) - 1, 200)
        << "as full as it can be";
  }
  while (by_both.cursor().epoch == 0) {
    const std::vector<int64_t> rows = flat(by_both.next());
    EXPECT_TRUE(positions(rows) <= 120 && rows.size() <= 3);
    (rows.size() == 3 ? rows_ended : tokens_ended) = true;
  }
  EXPECT_TRUE(rows_ended && tokens_ended);
  ExampleStream tiny(data, {}, {.rows = 0, .tokens = 1});
  EXPECT_EQ(flat(tiny.next()).size(), 1U) << "one row at least";
}

TEST_F(ExampleStreamTest, MicroBatchesDoNotChangeTheRowsOfAStep) {
  const auto data = store({64});
  ExampleStream whole(data, {}, {.rows = 16, .micro_tokens = 1 << 20});
  for (const int64_t micro_tokens : {1, 60, 200}) {
    ExampleStream cut(data, {}, {.rows = 16, .micro_tokens = micro_tokens});
    whole.seek({0, 0});
    for (int step = 0; step < 4; ++step) {
      const StepRows a = whole.next(), b = cut.next();
      EXPECT_EQ(a.micro_batches.size(), 1U);
      EXPECT_EQ(sorted(flat(a)), sorted(flat(b)));
      for (const auto& micro_batch : b.micro_batches) {
        int64_t tokens = 0;
        for (const int64_t row : micro_batch) tokens += data->length(row) - 1;
        EXPECT_TRUE(tokens <= micro_tokens || micro_batch.size() == 1);
      }
    }
  }
}

TEST_F(ExampleStreamTest, Faults) {
  const auto data = store({3});
  EXPECT_NE(test::error_of([&] { ExampleStream(data, {}, {.rows = 0}); }), "");
  EXPECT_NE(
      test::error_of([&] { ExampleStream(data, {1, 1}, {}); }).find("2 weights for 1 sources"),
      std::string::npos);
  EXPECT_NE(test::error_of([&] { ExampleStream(data, {0}, {}); }).find("no examples"),
            std::string::npos);
  EXPECT_NE(test::error_of([&] { ExampleStream(data, {-1}, {}); }), "");
}

TEST_F(ExampleStreamTest, EvaluationWalksOverEveryExampleInOrder) {
  const auto data = store({33, 4});
  for (const int64_t micro_tokens : {1, 100, 1 << 20}) {
    std::vector<int64_t> rows;
    for (const auto& batch : evaluation_batches(*data, micro_tokens)) {
      int64_t tokens = 0;
      for (const int64_t row : batch) tokens += data->length(row) - 1;
      EXPECT_TRUE(tokens <= micro_tokens || batch.size() == 1);
      rows.insert(rows.end(), batch.begin(), batch.end());
    }
    EXPECT_EQ(rows, up_to(37));
  }
}

TEST(BatchConfig, LoadsAndValidates) {
  const ConfigNode root = parse_yaml("batch:\n  rows: 0\n  micro_tokens: 512\n", "c.yaml");
  BatchConfig config;
  Problems problems;
  load_config(*root.find("batch"), config, problems);
  EXPECT_TRUE(problems.empty());
  EXPECT_EQ(config.micro_tokens, 512);
  validate(config, root, "batch", problems);
  EXPECT_NE(test::error_of([&] { problems.raise(); }).find("c.yaml:2:"), std::string::npos);
}

}  // namespace
}  // namespace continuo
