#include "data/batch.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "support/data_fixture.h"

namespace continuo {
namespace {

std::vector<int64_t> values(const at::Tensor& tensor) {
  const auto* data = tensor.const_data_ptr<int64_t>();
  return {data, data + tensor.numel()};
}

using Values = std::vector<int64_t>;

TEST(Batch, ShiftByHand) {
  // Prompt 10 11, completion 12 13, end of sequence 2.
  const std::vector<TokenId> a = {10, 11, 12, 13, 2};
  const std::vector<uint8_t> a_trained = {0, 0, 1, 1, 1};
  // The flag of a first token has no meaning: nothing precedes it, least of all the other document.
  const std::vector<TokenId> b = {20, 21, 2};
  const std::vector<uint8_t> b_trained = {1, 0, 1};
  const std::vector<ExampleView> examples = {{a, a_trained}, {b, b_trained}};
  const std::vector<int64_t> rows = {7, 3};
  const Batch batch = make_batch(examples, rows);
  EXPECT_EQ(values(batch.tokens), (Values{10, 11, 12, 13, 20, 21}));
  EXPECT_EQ(values(batch.positions), (Values{0, 1, 2, 3, 0, 1}));
  EXPECT_EQ(values(batch.targets), (Values{-100, 12, 13, 2, -100, 2}));
  EXPECT_EQ(batch.boundaries, (Values{0, 4, 6}));
  EXPECT_EQ(batch.trained_count, 4);
  EXPECT_EQ(batch.rows, rows);
  EXPECT_EQ(batch.tokens.scalar_type(), at::kLong);
}

TEST(Batch, SeveralTrainedRuns) {
  const std::vector<TokenId> ids = {5, 6, 2, 7, 8, 2};
  const std::vector<uint8_t> trained = {0, 1, 1, 0, 1, 1};
  const Batch batch = make_batch(std::vector<ExampleView>{{ids, trained}}, std::vector<int64_t>{0});
  EXPECT_EQ(values(batch.targets), (Values{6, 2, -100, 8, 2}));
  EXPECT_EQ(batch.trained_count, 4);
}

TEST(Batch, WeightsGoWithTheirTargets) {
  const std::vector<TokenId> ids = {5, 6, 2, 7};
  const std::vector<uint8_t> trained = {0, 1, 0, 1};
  const std::vector<float> weights = {9, 0.5f, 4, 2};
  const std::vector<ExampleView> examples = {{ids, trained, weights}, {ids, trained}};
  const Batch batch = make_batch(examples, std::vector<int64_t>{0, 1});
  const auto* weight = batch.weights.const_data_ptr<float>();
  EXPECT_EQ(std::vector<float>(weight, weight + 6), (std::vector<float>{0.5f, 0, 2, 1, 0, 1}));
  EXPECT_EQ(batch.weight, 4.5);
  EXPECT_EQ(batch.trained_count, 4);
  const Batch plain = make_batch(std::vector<ExampleView>{examples[1]}, std::vector<int64_t>{1});
  EXPECT_FALSE(plain.weights.defined());
  EXPECT_EQ(plain.weight, 2);
}

TEST(Batch, DocumentsOfOneGroupCountOnce) {
  const std::vector<TokenId> ids = {5, 6};
  const std::vector<uint8_t> trained = {0, 1};
  const std::vector<ExampleView> examples(4, ExampleView{ids, trained});
  const std::vector<int64_t> rows = {0, 1, 2, 3}, groups = {4, 4, 9, 4};
  EXPECT_EQ(make_batch(examples, rows, groups).counts().groups, 2);
  EXPECT_EQ(make_batch(examples, rows).counts().groups, 4);
}

TEST(Batch, AllMasked) {
  const std::vector<TokenId> ids = {5, 6};
  const std::vector<uint8_t> trained = {1, 0};
  const Batch batch = make_batch(std::vector<ExampleView>{{ids, trained}}, std::vector<int64_t>{0});
  EXPECT_EQ(values(batch.targets), Values{-100});
  EXPECT_EQ(batch.trained_count, 0);
}

TEST(Batch, Faults) {
  const std::vector<TokenId> one = {5};
  const std::vector<uint8_t> flag = {1};
  EXPECT_NE(test::error_of([&] {
              make_batch(std::vector<ExampleView>{{one, flag}}, std::vector<int64_t>{4});
            }).find("example 4"),
            std::string::npos);
  EXPECT_NE(
      test::error_of([&] { make_batch(std::vector<ExampleView>{}, std::vector<int64_t>{4}); }), "");
}

TEST(Batch, EndOfSequenceIsSupervisedExactlyOnceWhateverThePacking) {
  const test::TempDir dir;
  const auto store =
      test::open_store(test::data_config(dir, {dir.write("rows.jsonl", test::records(20))}));
  std::vector<int64_t> rows;
  int64_t alone = 0;
  for (int64_t row = 0; row < store->size(); ++row) {
    rows.push_back(row);
    const Batch single = make_batch(*store, std::vector<int64_t>{row});
    const Values targets = values(single.targets);
    EXPECT_EQ(std::count(targets.begin(), targets.end(), 2), 1);
    EXPECT_EQ(targets.back(), 2);
    alone += single.trained_count;
  }
  const Batch packed = make_batch(*store, rows);
  EXPECT_EQ(packed.trained_count, alone);
  EXPECT_EQ(packed.trained_count, store->report().trained);
  EXPECT_EQ(packed.tokens.numel(), store->report().tokens - store->size());
}

}  // namespace
}  // namespace continuo
