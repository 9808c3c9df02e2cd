#include "nn/adapters/lora.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include "nn/gated_linear.h"
#include "support/backend.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;

// A frozen layer [out 24, in 16] with an adapter whose every part matters.
struct AdaptedLayer {
  AdaptedLayer(const LoraOptions& o, bool bias, at::ScalarType held = at::kFloat)
      : options(o), linear(16, 24, bias), pass(std::make_shared<DropoutPass>()) {
    const c10::NoGradGuard no_grad;
    at::manual_seed(4);
    linear->weight.set_data(at::randn({24, 16}));
    if (bias) linear->bias.set_data(at::randn({24}));
    linear->weight.set_data(linear->weight.to(held));
    for (at::Tensor& parameter : linear->parameters()) parameter.set_requires_grad(false);
    const auto adapter = std::make_shared<LoraAdapter>(*linear, options, 3, "layer", pass);
    adapter->initialise();
    linear->adapter = adapter;
    for (auto& [name, tensor] : linear->adapter->parameters()) {
      if (name == "lora_B.weight") tensor.copy_(at::randn(tensor.sizes()) * 0.3);
      if (name == "lora_magnitude_vector") tensor.mul_(at::rand(tensor.sizes()) + 0.5);
    }
  }
  at::Tensor parameter(size_t i) const { return linear->adapter->parameters()[i].second; }

  LoraOptions options;
  Linear linear;
  std::shared_ptr<DropoutPass> pass;
};

// PEFT's formulas, by autograd.
at::Tensor plain_formula(const AdaptedLayer& layer, const at::Tensor& x, const at::Tensor& mask) {
  const LoraOptions& o = layer.options;
  const at::Tensor w = layer.linear->weight, bias = layer.linear->bias, a = layer.parameter(0),
                   b = layer.parameter(1);
  const at::Tensor dropped = mask.defined() ? x * mask : x;
  const at::Tensor low = at::linear(at::linear(dropped, a), b) * o.scaling();
  at::Tensor y = at::linear(x, w, bias);
  if (!o.dora) return y + low;
  const at::Tensor norm = (w + o.scaling() * b.mm(a)).norm(2, {1}).detach();
  const at::Tensor scale = layer.parameter(2) / norm;
  return y + (scale - 1) * at::linear(dropped, w) + scale * low;
}

struct Variant {
  std::string name;
  LoraOptions options;
  bool bias;
};

class LoraFormula : public testing::TestWithParam<Variant> {};

TEST_P(LoraFormula, ValuesAndGradientsAreThoseOfTheFormula) {
  AdaptedLayer layer(GetParam().options, GetParam().bias);
  for (const int64_t rows : {5, 80}) {  // below and above the row kernel
    std::vector<uint64_t> tokens(static_cast<size_t>(rows));
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = i;
    const DropoutScope scope(layer.pass.get(), 2, tokens);
    const double rate = GetParam().options.dropout;
    const at::Tensor mask =
        rate > 0
            ? Dropout(rate, 3, "layer").mask(*layer.pass, rows, 16, at::TensorOptions(at::kFloat))
            : at::Tensor();
    const at::Tensor upstream = at::randn({rows, 24}), input = at::randn({rows, 16});
    std::vector<std::vector<at::Tensor>> results;
    for (const bool ours : {true, false}) {
      at::Tensor x = input.clone().set_requires_grad(true);
      const at::Tensor y = ours ? layer.linear(x) : plain_formula(layer, x, mask);
      (y * upstream).sum().backward();
      std::vector<at::Tensor> result = {y.detach(), x.grad()};
      for (const auto& [name, tensor] : layer.linear->adapter->parameters()) {
        result.push_back(tensor.grad().clone());
        tensor.mutable_grad() = at::Tensor();
      }
      results.push_back(result);
    }
    for (size_t i = 0; i < results[0].size(); ++i) {
      const double size = results[1][i].abs().max().item<double>();
      EXPECT_LT(max_difference(results[0][i], results[1][i]), 1e-5 * std::max(1.0, size))
          << "value " << i;
    }
    const c10::NoGradGuard no_grad;
    EXPECT_LT(max_difference(layer.linear(input), results[1][0]), 1e-4);
  }
  EXPECT_FALSE(layer.linear->weight.grad().defined());
}
INSTANTIATE_TEST_SUITE_P(
    Variants, LoraFormula,
    testing::Values(
        Variant{"lora", {.rank = 3, .alpha = 6}, false},
        Variant{"bias", {.rank = 3, .alpha = 6}, true},
        Variant{"rslora", {.rank = 4, .alpha = 6, .rslora = true}, false},
        Variant{"dora", {.rank = 3, .alpha = 6, .dora = true}, true},
        Variant{"dropout", {.rank = 3, .alpha = 6, .dropout = 0.4}, true},
        Variant{"dora_dropout", {.rank = 3, .alpha = 6, .dropout = 0.4, .dora = true}, true}),
    [](const auto& test) { return test.param.name; });

TEST(Lora, TheBackwardPassOutlivesTheAdapter) {
  std::vector<std::vector<at::Tensor>> gradients;
  for (const bool gone : {false, true}) {
    AdaptedLayer layer({.rank = 3, .alpha = 6, .dropout = 0.4, .dora = true}, false);
    const DropoutScope scope(layer.pass.get(), 2, std::vector<uint64_t>{0, 1, 2, 3, 4});
    const at::Tensor x = at::randn({5, 16}).set_requires_grad(true);
    const at::Tensor y = layer.linear(x);
    const at::Tensor a = layer.parameter(0);
    if (gone) layer.linear->adapter.reset();
    y.sum().backward();
    gradients.push_back({x.grad(), a.grad()});
  }
  for (size_t i = 0; i < gradients[0].size(); ++i)
    EXPECT_TRUE(at::equal(gradients[0][i], gradients[1][i])) << i;
}

TEST(Lora, AFreshAdapterChangesNothing) {
  for (const bool dora : {false, true}) {
    AdaptedLayer layer({.rank = 3, .alpha = 6, .dora = dora}, false);
    const c10::NoGradGuard no_grad;
    const auto fresh =
        std::make_shared<LoraAdapter>(*layer.linear, layer.options, 3, "layer", layer.pass);
    fresh->initialise();
    layer.linear->adapter = fresh;
    const at::Tensor x = at::randn({80, 16});
    EXPECT_LT(max_difference(layer.linear(x), at::linear(x, layer.linear->weight)), 1e-5);
    const at::Tensor a = layer.parameter(0);
    EXPECT_LE(a.abs().max().item<double>(), 0.25);  // 1/√in
    EXPECT_GT(a.abs().max().item<double>(), 0.2);
    EXPECT_EQ(layer.parameter(1).abs().max().item<double>(), 0);
  }
}

TEST(Lora, TheMergedWeightDoesTheSameAlone) {
  for (const LoraOptions& options :
       {LoraOptions{.rank = 3, .alpha = 6}, LoraOptions{.rank = 3, .alpha = 6, .dora = true}}) {
    AdaptedLayer layer(options, true);
    const c10::NoGradGuard no_grad;
    const at::Tensor x = at::randn({80, 16});
    const LowRank rows = layer.linear->adapter->low_rank(*layer.linear);
    EXPECT_EQ(rows.factor.defined(), options.dora);
    const at::Tensor merged = at::linear(x, merged_weight(*layer.linear, rows), layer.linear->bias);
    EXPECT_LT(max_difference(layer.linear(x), merged), 1e-5);
  }
}

// Masters stay float32, the base may be held in bfloat16: the same as with a float32 base in
// bfloat16 products.
TEST(Lora, Bfloat16ProductsGiveFloatGradients) {
  for (const bool dora : {false, true}) {
    std::vector<at::Tensor> values;
    for (const at::ScalarType held : {at::kFloat, at::kBFloat16}) {
      AdaptedLayer layer({.rank = 3, .alpha = 6, .dora = dora}, true, held);
      at::Tensor x = at::randn({80, 16}).to(at::kBFloat16).set_requires_grad(true);
      const at::Tensor y = layer.linear(x);
      EXPECT_EQ(y.scalar_type(), at::kBFloat16);
      y.to(at::kFloat).square().sum().backward();
      EXPECT_EQ(x.grad().scalar_type(), at::kBFloat16);
      for (const auto& [name, tensor] : layer.linear->adapter->parameters()) {
        EXPECT_EQ(tensor.grad().scalar_type(), at::kFloat) << name;
      }
      values.push_back(y.detach());
    }
    EXPECT_LT(max_difference(values[0], values[1]), dora ? 0.2 : 1e-6);
  }
}

// What an adapter adds after its first steps is far below the rounding of the layer's output. None
// of it may be lost.
TEST(Lora, Bfloat16KeepsAdaptersThatAreSmallerThanItsRounding) {
  for (const bool bias : {false, true}) {
    AdaptedLayer layer({.rank = 4, .alpha = 8}, bias, at::kBFloat16);
    const c10::NoGradGuard no_grad;
    const at::Tensor x = at::randn({2000, 16}).to(at::kBFloat16);
    at::Tensor b = layer.parameter(1);
    b.zero_();
    const at::Tensor before = layer.linear(x).to(at::kFloat);
    b.copy_(at::randn(b.sizes()) * 3e-4);
    const at::Tensor added = layer.linear(x).to(at::kFloat) - before;
    const at::Tensor wanted = 2 * at::linear(at::linear(x.to(at::kFloat), layer.parameter(0)), b);
    const double kept =
        (added * wanted).sum().item<double>() / wanted.square().sum().item<double>();
    EXPECT_NEAR(kept, 1.0, 0.3) << bias;
  }
}

TEST(Lora, TheDownProjectionRemakesItsInput) {
  AdaptedLayer layer({.rank = 3, .alpha = 6}, false);
  const at::Tensor gate0 = at::randn({80, 16}), up0 = at::randn({80, 16}),
                   upstream = at::randn({80, 24});
  std::vector<std::vector<at::Tensor>> results;
  for (const bool ours : {true, false}) {
    at::Tensor gate = gate0.clone().set_requires_grad(true),
               up = up0.clone().set_requires_grad(true);
    const at::Tensor y = ours ? gated_linear(gate, up, Activation::silu, *layer.linear)
                              : plain_formula(layer, at::silu(gate) * up, at::Tensor());
    (y * upstream).sum().backward();
    results.push_back({y.detach(), gate.grad(), up.grad(), layer.parameter(0).grad().clone(),
                       layer.parameter(1).grad().clone()});
    for (size_t i = 0; i < 2; ++i) layer.parameter(i).mutable_grad() = at::Tensor();
  }
  for (size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_LT(max_difference(results[0][i], results[1][i]), 3e-4) << "value " << i;
  }
}

// The whole model: recomputation gives the gradients of the plain pass, the base gets none.
TEST(Lora, RecomputationGivesTheSameGradientsDropoutIncluded) {
  auto pass = std::make_shared<DropoutPass>();
  const auto model = test::tiny_model();
  for (at::Tensor& parameter : model->parameters()) parameter.set_requires_grad(false);
  std::vector<std::shared_ptr<LoraAdapter>> adapters;
  for (const auto& item : model->named_modules()) {
    auto* linear = dynamic_cast<LinearImpl*>(item.value().get());
    if (!linear) continue;
    adapters.push_back(std::make_shared<LoraAdapter>(
        *linear, LoraOptions{.rank = 2, .alpha = 4, .dropout = 0.3}, 1, item.key(), pass));
    adapters.back()->initialise();
    linear->adapter = adapters.back();
    const c10::NoGradGuard no_grad;
    linear->adapter->parameters()[1].second.fill_(0.1);
  }
  const RaggedInput input =
      test::ragged({test::random_tokens(40, 61, 1), test::random_tokens(47, 61, 2)});
  std::vector<uint64_t> tokens(87);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = i;
  std::vector<std::vector<at::Tensor>> gradients;
  for (const bool again : {false, true}) {
    model->set_compute({.recompute = again});
    const DropoutScope scope(pass.get(), 1, tokens);
    model->forward(input).square().sum().backward();
    gradients.emplace_back();
    for (const auto& adapter : adapters) {
      for (const auto& [name, tensor] : adapter->parameters()) {
        ASSERT_TRUE(tensor.grad().defined()) << name;
        gradients.back().push_back(tensor.grad().clone());
        tensor.mutable_grad() = at::Tensor();
      }
    }
  }
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    EXPECT_GT(gradients[0][i].abs().max().item<double>(), 0) << i;
    EXPECT_TRUE(gradients[0][i].equal(gradients[1][i])) << i;
  }
  for (const at::Tensor& parameter : model->parameters()) EXPECT_FALSE(parameter.grad().defined());
}

}  // namespace
}  // namespace continuo
