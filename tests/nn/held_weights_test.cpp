// Training on frozen weights that an executor holds: the same values and gradients as with copies
// of them in memory, bit for bit.
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "nn/adapters/lora.h"
#include "nn/executor.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

struct Case {
  const char* name;
  LoraOptions options;
  bool all = true;  // layers carry an adapter, or every other one
  bool recompute = false;
  at::ScalarType dtype = at::kFloat;
};

class HeldWeights : public testing::TestWithParam<Case> {
 protected:
  // Frozen, with adapters on its layers whose B is not zero.
  static void adapt(Transformer& model, const Case& c, const std::shared_ptr<DropoutPass>& pass) {
    for (at::Tensor& parameter : model.parameters()) parameter.set_requires_grad(false);
    int64_t n = 0;
    for (const auto& [place, layer] : model.linear_slots()) {
      if (!c.all && n++ % 2 == 1) continue;
      const auto adapter = std::make_shared<LoraAdapter>(
          *layer, c.options, 3, std::to_string(place.block * 100 + static_cast<int>(place.matrix)),
          pass);
      adapter->initialise();
      const c10::NoGradGuard no_grad;
      at::Tensor a = adapter->parameters()[0].second, b = adapter->parameters()[1].second;
      b.copy_(a.flatten().narrow(0, 0, 1).expand(b.sizes()) * 0.5);
      layer->adapter = adapter;
    }
  }

  // Hidden states, logits, and the gradients of the adapters.
  static std::vector<at::Tensor> step(Transformer& model, const Case& c, DropoutPass& pass) {
    model.set_compute({.dtype = c.dtype, .recompute = c.recompute});
    const RaggedInput input = test::ragged({{1, 5, 9, 3, 60, 2, 7}, {4, 4, 8, 1, 0, 33}});
    std::vector<uint64_t> tokens(13);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = i;
    const DropoutScope scope(&pass, 1, tokens);
    const at::Tensor hidden = model.forward(input), logits = model.logits(hidden);
    (logits * logits).sum().backward();
    std::vector<at::Tensor> found = {hidden.detach(), logits.detach()};
    for (const auto& [place, layer] : model.linear_slots()) {
      if (!layer->adapter) continue;
      for (const auto& [name, tensor] : layer->adapter->parameters()) {
        EXPECT_TRUE(tensor.grad().defined()) << name;
        found.push_back(tensor.grad());
      }
    }
    return found;
  }
};

TEST_P(HeldWeights, TrainAsCopiesOfThemDo) {
  const Case& c = GetParam();
  for (const WeightFormat format : {WeightFormat::f32, WeightFormat::q8, WeightFormat::q4}) {
    SCOPED_TRACE(name(format));
    const auto held = test::tiny_model(), copied = test::tiny_model();
    const auto executor = make_executor(held, {.weights = format});
    {
      const c10::NoGradGuard no_grad;
      for (const auto& [place, layer] : copied->linear_slots()) {
        const WeightMatrix matrix = executor->matrix(place);
        layer->weight.copy_(matrix.rows(0, matrix.out()));
      }
      copied->head_weight().copy_(executor->head_matrix().rows(0, 61));
    }
    read_from(*executor, *held);
    const auto pass = std::make_shared<DropoutPass>();
    adapt(*held, c, pass);
    adapt(*copied, c, pass);
    const std::vector<at::Tensor> found = step(*held, c, *pass), wanted = step(*copied, c, *pass);
    ASSERT_EQ(found.size(), wanted.size());
    ASSERT_GT(found.size(), 2u);
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_TRUE(at::equal(found[i], wanted[i])) << "tensor " << i;
  }
}
INSTANTIATE_TEST_SUITE_P(
    Cases, HeldWeights,
    testing::Values(Case{"lora", {.rank = 3, .alpha = 6}},
                    Case{"some_layers", {.rank = 3, .alpha = 6}, false},
                    Case{"recomputed", {.rank = 3, .alpha = 6, .dropout = 0.3}, false, true},
                    Case{"dora", {.rank = 3, .alpha = 6, .dropout = 0.3, .dora = true}},
                    Case{"bf16", {.rank = 3, .alpha = 6}, true, false, at::kBFloat16}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace continuo
