#include "train/evaluator.h"

#include <ATen/ops/log_softmax.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "nn/executor.h"
#include "nn/served_decoder.h"
#include "support/backend.h"
#include "support/training.h"

namespace continuo {
namespace {

using test::byte_model_spec;
using test::byte_store;
using test::tiny_model;

TEST(Evaluator, TheLossDoesNotDependOnTheBatchSize) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 23);
  auto model = tiny_model(byte_model_spec());
  const Evaluation one = evaluate(*model, *store, 1), all = evaluate(*model, *store, 1 << 20);
  EXPECT_EQ(one.tokens, all.tokens);
  EXPECT_EQ(one.rows, 23);
  EXPECT_NEAR(one.loss(), all.loss(), 1e-6);
  EXPECT_NEAR(one.mean_entropy(), all.mean_entropy(), 1e-6);
  EXPECT_EQ(one.correct, all.correct);
}

TEST(Evaluator, CountsCompletionTokensAndTheEndOfSequenceOnly) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 4);
  int64_t expected = 0;
  for (int64_t i = 0; i < 4; ++i)
    expected += (i * 7) % 11 + 1 + 1 + 1;  // reversed prompt, "!", end of sequence
  auto model = tiny_model(byte_model_spec());
  EXPECT_EQ(evaluate(*model, *store, 64).tokens, expected);
}

TEST(Evaluator, AServedModelIsEvaluatedAsItGenerates) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 23);
  const auto model = tiny_model(byte_model_spec());
  const double trained = evaluate(*model, *store, 64).loss();
  ServedDecoder served(make_executor(model, {}));
  const Evaluation whole = evaluate(served, *store, 1 << 20);
  EXPECT_NEAR(whole.loss(), trained, 1e-5);
  EXPECT_NEAR(evaluate(served, *store, 1).loss(), whole.loss(), 1e-6);
  const KVFormat cache = test::on_reference() ? KVFormat::f32 : KVFormat::q8;
  ServedDecoder narrow(make_executor(model, {.weights = WeightFormat::q4, .cache = cache}));
  const double loss = evaluate(narrow, *store, 1 << 20).loss();
  EXPECT_NE(loss, whole.loss());
  EXPECT_NEAR(loss, whole.loss(), 0.1 * whole.loss());
  // Elsewhere activations are bfloat16, and rounded by products of other shapes.
  EXPECT_NEAR(evaluate(narrow, *store, 1).loss(), loss, test::on_reference() ? 1e-3 * loss : 1e-6);
}

TEST(Evaluator, ALossThatIsNotFiniteNamesTheRow) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 3);
  auto model = tiny_model(byte_model_spec());
  const c10::NoGradGuard no_grad;
  model->named_parameters()["norm.weight"].fill_(std::numeric_limits<float>::infinity());
  try {
    evaluate(*model, *store, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("rows3.jsonl:"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace continuo
