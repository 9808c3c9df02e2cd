#include "nn/quantised_weight.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "nn/backend.h"
#include "nn/cpu/packed_matrix.h"
#include "nn/executor.h"
#include "nn/transformer.h"
#include "support/backend.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

// Weights of 8 and 4 bits are what the CPU's engine has, wherever they are read.
TEST(QuantisedWeight, HasTheValuesOfTheEngine) {
  for (const WeightFormat format : {WeightFormat::q8, WeightFormat::q4}) {
    for (const auto& [out, in] : {std::pair{1, 1}, {31, 33}, {32, 32}, {70, 100}, {33, 576}}) {
      SCOPED_TRACE(testing::Message() << name(format) << " " << out << " × " << in);
      const at::Tensor weight = at::randn({out, in});
      const PanelRows rows({weight});
      PanelArena arena(packed_bytes(format, rows));
      const at::Tensor expected = unpack(pack(arena, format, rows), out);
      const QuantisedWeight w = quantise(weight.to(test::device()), format, test::device());
      EXPECT_EQ(w.panels.device().type(), test::device().type());
      const at::Tensor values = backend_of(w.panels).quantised.values(w, at::kFloat).to(at::kCPU);
      EXPECT_EQ(values.sizes(), weight.sizes());
      EXPECT_LT((values - expected).abs().max().item<float>(), 1e-6f);
    }
  }
}

// The executor of modules has what a model has whose layers hold the values of 8 or 4 bits.
TEST(QuantisedWeight, RunsInTheExecutorOfModules) {
  if (!test::on_reference()) GTEST_SKIP() << "the CPU's engine has its own";
  for (const WeightFormat format : {WeightFormat::q8, WeightFormat::q4}) {
    SCOPED_TRACE(name(format));
    const auto model = test::tiny_model(), rounded = test::tiny_model();
    for (const auto& [place, layer] : rounded->linear_slots()) {
      const QuantisedWeight w = quantise(layer->matrix(), format, test::device());
      const c10::NoGradGuard no_grad;
      layer->weight.copy_(backend_of(w.panels).quantised.values(w, at::kFloat));
    }
    const auto logits = [](Executor& executor) {
      const auto cache = executor.make_cache();
      const int64_t sequence = cache->add();
      const RaggedInput input = test::ragged({{1, 5, 9, 3, 60, 2, 7}});
      return executor
          .run({.input = input, .cache = *cache, .sequences = {sequence}, .wanted = {3, 6}})
          .logits.to(at::kCPU, at::kFloat);
    };
    const auto quantised = make_executor(model, {.weights = format}),
               expected = make_executor(rounded, {.weights = WeightFormat::bf16});
    const at::Tensor found = logits(*quantised), wanted = logits(*expected);
    EXPECT_LT((found - wanted).abs().max().item<float>(), 0.02 * wanted.abs().max().item<float>());
    EXPECT_LT(quantised->weight_bytes(), expected->weight_bytes());
    const at::Tensor matrix = quantised->matrix({0, Matrix::up, 0}).rows(0, 5);
    EXPECT_EQ(matrix.scalar_type(), at::kFloat);

    // Weights that change are looked at anew.
    const c10::NoGradGuard no_grad;
    for (const auto& [place, layer] : model->linear_slots()) layer->weight.zero_();
    quantised->refresh();
    EXPECT_EQ(quantised->matrix({0, Matrix::up, 0}).rows(0, 5).abs().max().item<float>(), 0);
  }
}

}  // namespace
}  // namespace continuo
