#include "train/step.h"

#include <cmath>

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/named_parameters.h"
#include "support/training.h"
#include "train/head_loss.h"
#include "train/sft.h"
#include "train/supervised.h"

namespace continuo {
namespace {

using test::byte_model_spec;
using test::byte_store;
using test::max_difference;
using test::named_parameters;
using test::tiny_model;

// The first step over all rows of a store, in micro-batches of so many tokens.
TrainingStep step_of(const std::shared_ptr<const ExampleStore>& store, int64_t micro_tokens) {
  const BatchConfig batch{.rows = store->size(), .micro_tokens = micro_tokens, .seed = 3};
  return StepLoader(ExampleStream(store, {}, batch)).next();
}

TEST(Step, MicroBatchesAddUpToOneBatch) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 12);
  const auto model = tiny_model(byte_model_spec());
  TrainingStep whole = step_of(store, 1 << 20), parts = step_of(store, 30);
  ASSERT_EQ(whole.micro_batches.size(), 1u);
  ASSERT_GT(parts.micro_batches.size(), 2u);

  const auto trained = static_cast<double>(whole.trained_count);
  const Supervised rows = supervised_rows(*model, whole.micro_batches[0]);
  const NllResult expected =
      weighted_nll(rows.hidden, rows.head, rows.targets, {}, {.scale = 1 / trained});
  expected.sum.backward();
  const at::Tensor gradient = model->head_weight().grad().clone();
  const auto mean = [&](const at::Tensor& values) { return values.sum().item<double>() / trained; };
  SftObjective objective;
  for (TrainingStep* step : {&whole, &parts}) {
    model->zero_grad();
    const std::vector<at::Tensor> parameters = model->parameters();
    LocalGradients gradients(named_parameters(*model));
    const StepResult result =
        accumulate(*step, objective, {.decoder = *model, .gradients = gradients});
    EXPECT_NEAR(result.loss, expected.sum.item<double>(), 1e-5);
    ASSERT_EQ(result.metrics.size(), 3u);
    EXPECT_NEAR(result.metrics[0], mean(expected.nll), 1e-5);
    EXPECT_NEAR(result.metrics[0], result.loss, 1e-5);
    EXPECT_EQ(result.metrics[1], mean(expected.correct));
    EXPECT_NEAR(result.metrics[2], mean(expected.entropy), 1e-5);
    EXPECT_LT(max_difference(model->head_weight().grad(), gradient), 1e-6);
    double squares = 0;
    for (const at::Tensor& p : parameters) squares += p.grad().square().sum().item<double>();
    EXPECT_NEAR(result.gradient_norm, std::sqrt(squares), 1e-5 * std::sqrt(squares));
  }
}

TEST(Step, ALossThatIsNotFiniteNamesItsRows) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 2);
  const auto model = tiny_model(byte_model_spec());
  {
    const c10::NoGradGuard no_grad;
    model->head_weight().fill_(INFINITY);
  }
  TrainingStep step = step_of(store, 1 << 20);
  SftObjective objective;
  LocalGradients gradients(named_parameters(*model));
  const StepContext seventh{.decoder = *model, .gradients = gradients, .number = 6};
  test::expect_error([&] { accumulate(step, objective, seventh); }, {"step 7", "row 0", "row 1"});
  const StepContext named{.decoder = *model, .gradients = gradients, .where = [&](int64_t row) {
                            return store->where(row);
                          }};
  test::expect_error([&] { accumulate(step, objective, named); }, {"rows2.jsonl:2"});
}

// A step of the documents of `ids` with these flags and weights, each a micro-batch of its own.
TrainingStep weighted_step(const std::vector<ExampleView>& views) {
  TrainingStep step;
  for (size_t i = 0; i < views.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    step.add(make_batch({&views[i], 1}, {&row, 1}));
  }
  return step;
}

struct LossAndGradient {
  double loss = 0;
  at::Tensor gradient;
};

LossAndGradient run_step(TrainingStep step) {
  const auto model = tiny_model(byte_model_spec());
  SftObjective objective;
  LocalGradients gradients(named_parameters(*model));
  const double loss = accumulate(step, objective, {.decoder = *model, .gradients = gradients}).loss;
  return {loss, model->head_weight().grad().clone()};
}

TEST(Step, AWeightOfTwoIsTheRowTwiceAndOneOfZeroIsTheMask) {
  const std::vector<TokenId> a = {10, 20, 30, 40}, b = {50, 60, 70};
  const std::vector<uint8_t> all_a = {0, 1, 1, 1}, all_b = {0, 1, 1}, last_a = {0, 0, 1, 1};
  const std::vector<float> two = {2, 2, 2}, some = {0, 0, 1, 1};
  const LossAndGradient weighted = run_step(weighted_step({{a, all_a}, {b, all_b, two}}));
  const LossAndGradient twice = run_step(weighted_step({{a, all_a}, {b, all_b}, {b, all_b}}));
  EXPECT_NEAR(weighted.loss, twice.loss, 1e-6);
  EXPECT_LT(max_difference(weighted.gradient, twice.gradient), 1e-7);
  const LossAndGradient zero = run_step(weighted_step({{a, all_a, some}}));
  const LossAndGradient mask = run_step(weighted_step({{a, last_a}}));
  EXPECT_NEAR(zero.loss, mask.loss, 1e-6);
  EXPECT_LT(max_difference(zero.gradient, mask.gradient), 1e-7);
}

}  // namespace
}  // namespace continuo
