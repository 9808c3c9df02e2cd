#include "train/step.h"

#include <cmath>

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/training.h"
#include "train/batch_loss.h"

namespace continuo {
namespace {

using test::byte_model_options;
using test::byte_store;
using test::max_difference;
using test::tiny_model;

// The first step over all rows of a store, in micro-batches of so many tokens.
TrainingStep step_of(const std::shared_ptr<const ExampleStore>& store, int64_t micro_tokens) {
  const BatchConfig batch{.rows = store->size(), .micro_tokens = micro_tokens, .seed = 3};
  return StepLoader(ExampleStream(store, {}, batch)).next();
}

TEST(Step, MicroBatchesAddUpToOneBatch) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 12);
  const auto model = tiny_model(byte_model_options());
  const TrainingStep whole = step_of(store, 1 << 20), parts = step_of(store, 30);
  ASSERT_EQ(whole.micro_batches.size(), 1u);
  ASSERT_GT(parts.micro_batches.size(), 2u);

  const auto trained = static_cast<double>(whole.trained_count);
  const LossResult expected = batch_loss(*model, whole.micro_batches[0], 1 / trained, {});
  expected.sum.backward();
  const at::Tensor gradient = model->head_weight().grad().clone();
  for (const TrainingStep* step : {&whole, &parts}) {
    model->zero_grad();
    const StepSums sums = accumulate_gradients(*step, 0, {.decoder = *model});
    EXPECT_NEAR(sums.loss, expected.sum.item<double>(), 1e-5);
    EXPECT_NEAR(sums.nll, expected.nll.sum().item<double>(), 1e-3);
    EXPECT_NEAR(sums.nll, trained * sums.loss, 1e-3);
    EXPECT_NEAR(sums.entropy, expected.entropy.sum().item<double>(), 1e-3);
    EXPECT_EQ(sums.correct, expected.correct);
    EXPECT_LT(max_difference(model->head_weight().grad(), gradient), 1e-6);
  }
}

TEST(Step, ALossThatIsNotFiniteNamesItsRows) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 2);
  const auto model = tiny_model(byte_model_options());
  {
    const c10::NoGradGuard no_grad;
    model->head_weight().fill_(INFINITY);
  }
  const TrainingStep step = step_of(store, 1 << 20);
  test::expect_error([&] { accumulate_gradients(step, 6, {.decoder = *model}); },
                     {"step 7", "row 0", "row 1"});
  const StepParts named{.decoder = *model, .where = [&](int64_t row) { return store->where(row); }};
  test::expect_error([&] { accumulate_gradients(step, 6, named); }, {"rows2.jsonl:2"});
}

}  // namespace
}  // namespace continuo
