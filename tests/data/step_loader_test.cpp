#include "data/step_loader.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "support/data_fixture.h"

namespace continuo {
namespace {

class StepLoaderTest : public testing::Test {
 protected:
  ExampleStream stream(int64_t ranks = 1) const {
    return {store_, {}, {.rows = 6, .micro_tokens = 90}, ranks};
  }

  test::TempDir dir_;
  std::shared_ptr<const ExampleStore> store_ =
      test::open_store(test::data_config(dir_, {dir_.write("rows.jsonl", test::records(40))}));
};

bool same(const TrainingStep& a, const TrainingStep& b) {
  return a.epoch == b.epoch && a.after == b.after && a.trained_count == b.trained_count &&
         a.tokens == b.tokens &&
         std::equal(a.micro_batches.begin(), a.micro_batches.end(), b.micro_batches.begin(),
                    b.micro_batches.end(), [](const Batch& x, const Batch& y) {
                      return x.rows == y.rows && x.boundaries == y.boundaries &&
                             x.tokens.equal(y.tokens) && x.targets.equal(y.targets) &&
                             x.positions.equal(y.positions);
                    });
}

TEST_F(StepLoaderTest, GivesTheStepsOfTheStreamWhateverTheDepth) {
  for (const int64_t depth : {1, 2, 9}) {
    ExampleStream reference = stream();
    StepLoader loader(stream(), {.depth = depth});
    for (int i = 0; i < 20; ++i) {
      const StepRows expected = reference.next();
      const TrainingStep step = loader.next();
      ASSERT_EQ(step.micro_batches.size(), expected.micro_batches.size());
      int64_t trained = 0, tokens = 0;
      for (size_t m = 0; m < expected.micro_batches.size(); ++m) {
        EXPECT_EQ(step.micro_batches[m].rows, expected.micro_batches[m]);
        const at::Tensor& targets = step.micro_batches[m].targets;
        const auto* data = targets.const_data_ptr<int64_t>();
        trained += targets.numel() - std::count(data, data + targets.numel(), kIgnoredTarget);
        tokens += targets.numel();
      }
      EXPECT_EQ(step.trained_count, trained);
      EXPECT_EQ(step.tokens, tokens);
      EXPECT_EQ(step.epoch, expected.epoch);
      EXPECT_EQ(step.after, reference.cursor())
          << "the cursor after this step, not after what is prepared";
    }
  }
}

TEST_F(StepLoaderTest, ResumesExactly) {
  StepLoader unbroken(stream(), {.depth = 3});
  for (int i = 0; i < 10; ++i) {
    const StreamCursor after = unbroken.next().after;
    ExampleStream again = stream();
    again.seek(after);
    StepLoader resumed(std::move(again), {.depth = 3});
    ExampleStream ahead = stream();
    ahead.seek(after);
    StepLoader reference(std::move(ahead), {.depth = 1});
    EXPECT_TRUE(same(resumed.next(), reference.next()));
  }
}

TEST_F(StepLoaderTest, UnbrokenEqualsBrokenEverywhere) {
  std::vector<TrainingStep> unbroken;
  StepLoader loader(stream());
  for (int i = 0; i < 15; ++i) unbroken.push_back(loader.next());
  for (size_t cut = 0; cut + 1 < unbroken.size(); ++cut) {
    ExampleStream again = stream();
    again.seek(unbroken[cut].after);
    StepLoader resumed(std::move(again), {.depth = 2});
    for (size_t i = cut + 1; i < unbroken.size(); ++i)
      EXPECT_TRUE(same(resumed.next(), unbroken[i]));
  }
}

TEST_F(StepLoaderTest, RanksPartAStepAndCountAllOfIt) {
  for (const int64_t ranks : {2, 3, 40}) {
    ExampleStream whole = stream();
    StepLoader alone(stream());
    std::vector<std::unique_ptr<StepLoader>> loaders;
    for (int64_t rank = 0; rank < ranks; ++rank)
      loaders.push_back(std::make_unique<StepLoader>(stream(ranks), LoaderOptions{.rank = rank}));
    for (int i = 0; i < 8; ++i) {
      const TrainingStep expected = alone.next();
      std::vector<int64_t> rows, all;
      for (const Batch& batch : expected.micro_batches)
        all.insert(all.end(), batch.rows.begin(), batch.rows.end());
      for (const auto& loader : loaders) {
        const TrainingStep step = loader->next();
        for (const Batch& batch : step.micro_batches)
          rows.insert(rows.end(), batch.rows.begin(), batch.rows.end());
        EXPECT_EQ(step.trained_count, expected.trained_count);
        EXPECT_EQ(step.weight, expected.weight);
        EXPECT_EQ(step.tokens, expected.tokens);
        EXPECT_EQ(step.rows, expected.rows);
        EXPECT_EQ(step.groups, expected.groups);
        EXPECT_EQ(step.after, expected.after);
      }
      std::ranges::sort(rows);
      std::ranges::sort(all);
      EXPECT_EQ(rows, all) << "each row on one rank";
    }
  }
}

TEST_F(StepLoaderTest, LeavesWithoutBeingEmptied) {
  StepLoader unused(stream(), {.depth = 4});
  EXPECT_EQ(unused.epoch_size(), 40);
  EXPECT_NE(test::error_of([&] { StepLoader(stream(), {.depth = 0}); }), "");
}

}  // namespace
}  // namespace continuo
