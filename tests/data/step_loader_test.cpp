#include "data/step_loader.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "support/data_fixture.h"

namespace continuo {
namespace {

class StepLoaderTest : public testing::Test {
 protected:
  ExampleStream stream() const { return {store_, {}, {.rows = 6, .micro_tokens = 90}}; }

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
    StepLoader loader(stream(), depth);
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
  StepLoader unbroken(stream(), 3);
  for (int i = 0; i < 10; ++i) {
    const StreamCursor after = unbroken.next().after;
    ExampleStream again = stream();
    again.seek(after);
    StepLoader resumed(std::move(again), 3);
    ExampleStream ahead = stream();
    ahead.seek(after);
    StepLoader reference(std::move(ahead), 1);
    EXPECT_TRUE(same(resumed.next(), reference.next()));
  }
}

TEST_F(StepLoaderTest, UnbrokenEqualsBrokenEverywhere) {
  std::vector<TrainingStep> unbroken;
  StepLoader loader(stream(), 2);
  for (int i = 0; i < 15; ++i) unbroken.push_back(loader.next());
  for (size_t cut = 0; cut + 1 < unbroken.size(); ++cut) {
    ExampleStream again = stream();
    again.seek(unbroken[cut].after);
    StepLoader resumed(std::move(again), 2);
    for (size_t i = cut + 1; i < unbroken.size(); ++i)
      EXPECT_TRUE(same(resumed.next(), unbroken[i]));
  }
}

TEST_F(StepLoaderTest, LeavesWithoutBeingEmptied) {
  StepLoader unused(stream(), 4);
  EXPECT_EQ(unused.epoch_size(), 40);
  EXPECT_NE(test::error_of([&] { StepLoader(stream(), 0); }), "");
}

}  // namespace
}  // namespace continuo
