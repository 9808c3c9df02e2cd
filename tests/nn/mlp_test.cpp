#include "nn/mlp.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/erf.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tanh.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include "support/backend.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;

constexpr Activation kActivations[] = {Activation::silu, Activation::gelu, Activation::gelu_tanh,
                                       Activation::relu};

Mlp random_mlp(Activation activation, bool gated, bool bias) {
  Mlp mlp(12, Dense{.width = 20, .activation = activation, .gated = gated, .biases = bias});
  const c10::NoGradGuard no_grad;
  at::manual_seed(6);
  for (at::Tensor& parameter : mlp->parameters())
    parameter.set_data(at::randn(parameter.sizes()) * 0.4);
  return mlp;
}

at::Tensor written_out(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return x * at::sigmoid(x);
    case Activation::gelu:
      return 0.5 * x * (1 + at::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + at::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x.pow(3))));
    case Activation::relu:
      return at::relu(x);
  }
  return {};
}

at::Tensor formula(const Mlp& mlp, const at::Tensor& x, Activation activation) {
  const auto apply = [](const Linear& layer, const at::Tensor& in) {
    return at::linear(in, layer->weight, layer->bias);
  };
  if (!mlp->gate) return apply(mlp->down, written_out(apply(mlp->up, x), activation));
  return apply(mlp->down, written_out(apply(mlp->gate, x), activation) * apply(mlp->up, x));
}

TEST(Mlp, ValuesAndGradientsAreThoseOfTheFormula) {
  for (const Activation activation : kActivations) {
    for (const bool gated : {true, false}) {
      for (const bool bias : {true, false}) {
        SCOPED_TRACE(testing::Message() << "activation " << static_cast<int>(activation)
                                        << ", gated " << gated << ", bias " << bias);
        Mlp mlp = random_mlp(activation, gated, bias);
        EXPECT_EQ(mlp->parameters().size(), (gated ? 3u : 2u) * (bias ? 2u : 1u));
        const at::Tensor input = at::randn({7, 12}), upstream = at::randn({7, 12});
        std::vector<std::vector<at::Tensor>> results;
        for (const bool ours : {true, false}) {
          at::Tensor x = input.clone().set_requires_grad(true);
          const at::Tensor y = ours ? mlp(x) : formula(mlp, x, activation);
          (y * upstream).sum().backward();
          std::vector<at::Tensor> result = {y.detach(), x.grad()};
          for (at::Tensor& parameter : mlp->parameters()) {
            result.push_back(parameter.grad().clone());
            parameter.mutable_grad() = at::Tensor();
          }
          results.push_back(std::move(result));
        }
        for (size_t i = 0; i < results[0].size(); ++i)
          EXPECT_LT(max_difference(results[0][i], results[1][i]), 2e-5) << "value " << i;
      }
    }
  }
}

}  // namespace
}  // namespace continuo
