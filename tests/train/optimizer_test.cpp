#include "train/optimizer.h"

#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "train/optimizer_file.h"

namespace continuo {
namespace {

NamedParameters two_parameters() {
  return {{"matrix", at::ones({3, 2}).set_requires_grad(true)},
          {"norm", at::ones({2}).set_requires_grad(true)}};
}

void set_gradients(const NamedParameters& parameters, double value) {
  for (const auto& [name, p] : parameters) p.mutable_grad() = at::full(p.sizes(), value);
}

// A step of the gradients that are there → their norm.
double step(AdamW& optimizer, double lr) {
  const double norm = std::sqrt(optimizer.gradients().sum().item<double>());
  optimizer.step(lr, norm);
  return norm;
}

// One scalar of AdamW (Loshchilov & Hutter), step by step.
struct Scalar {
  double x = 1, m = 0, v = 0;
  int t = 0;
  void step(double g, double lr, const OptimizerConfig& c, double decay) {
    ++t;
    m = c.beta1 * m + (1 - c.beta1) * g;
    v = c.beta2 * v + (1 - c.beta2) * g * g;
    x -= lr * decay * x;
    x -= lr * (m / (1 - std::pow(c.beta1, t))) /
         (std::sqrt(v / (1 - std::pow(c.beta2, t))) + c.epsilon);
  }
};

TEST(AdamW, FollowsTheFormulaAndDecaysMatricesOnly) {
  const OptimizerConfig config{.weight_decay = 0.5, .clip = 0};
  const NamedParameters parameters = two_parameters();
  LocalGradients gradients(parameters);
  AdamW optimizer(gradients, config);
  Scalar matrix, norm;
  for (const double g : {0.3, -0.1, 0.7}) {
    set_gradients(parameters, g);
    EXPECT_NEAR(step(optimizer, 0.01), std::sqrt(8 * g * g), 1e-6);
    matrix.step(g, 0.01, config, 0.5);
    norm.step(g, 0.01, config, 0);
    EXPECT_NEAR(parameters[0].second[0][0].item<double>(), matrix.x, 1e-6);
    EXPECT_NEAR(parameters[1].second[0].item<double>(), norm.x, 1e-6);
    EXPECT_FALSE(parameters[0].second.grad().defined());
  }
}

TEST(AdamW, ClipsToTheGlobalNorm) {
  const OptimizerConfig config{.weight_decay = 0, .clip = 1.0};
  const NamedParameters parameters = two_parameters();
  LocalGradients gradients(parameters);
  AdamW optimizer(gradients, config);
  set_gradients(parameters, 5);
  const double before = step(optimizer, 0.01);
  EXPECT_NEAR(before, 5 * std::sqrt(8.0), 1e-4);
  Scalar scalar;
  scalar.step(5 / before, 0.01, config, 0);
  EXPECT_NEAR(parameters[0].second[0][0].item<double>(), scalar.x, 1e-6);
  // The second moment shows that clipping reached it.
  EXPECT_NEAR(optimizer.exp_avg_sq(0)[0][0].item<double>(), 0.05 * 25 / (before * before), 1e-7);
}

// Float32 sums over so many elements are off in the fourth digit.
TEST(Gradients, TheNormOfManyElementsIsThatOfDoublePrecision) {
  const at::Tensor parameter = at::zeros({1500, 4001}).set_requires_grad(true);
  LocalGradients gradients(NamedParameters{{"matrix", parameter}});
  parameter.mutable_grad() = at::randn(parameter.sizes()).add_(0.3);
  const double expected = parameter.grad().to(at::kDouble).square().sum().item<double>();
  EXPECT_NEAR(gradients.sum().item<double>(), expected, 2e-7 * expected);
}

TEST(AdamW, ANonFiniteNormChangesNothing) {
  const NamedParameters parameters = two_parameters();
  LocalGradients gradients(parameters);
  AdamW optimizer(gradients, {});
  set_gradients(parameters, std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(std::isnan(step(optimizer, 0.1)));
  EXPECT_EQ(parameters[0].second.min().item<double>(), 1.0);
  EXPECT_EQ(optimizer.steps(), 0);
}

TEST(AdamW, AFileRestoresTheSameUpdatesBitForBit) {
  const test::TempDir directory;
  const NamedParameters a = two_parameters(), b = two_parameters();
  LocalGradients of_a(a), of_b(b);
  AdamW first(of_a, {}), second(of_b, {});
  set_gradients(a, 0.3);
  step(first, 0.1);
  save_optimizer(directory / "moments", first);
  {
    const c10::NoGradGuard no_grad;
    for (size_t i = 0; i < a.size(); ++i) b[i].second.copy_(a[i].second);
  }
  load_optimizer(directory / "moments", second);
  for (int i = 0; i < 3; ++i) {
    set_gradients(a, 0.1 * i);
    set_gradients(b, 0.1 * i);
    step(first, 0.05);
    step(second, 0.05);
  }
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].second.equal(b[i].second));
}

TEST(AdamW, NamesWhatAFileLacks) {
  const test::TempDir directory;
  NamedParameters parameters = two_parameters();
  LocalGradients gradients(parameters);
  save_optimizer(directory / "moments", AdamW(gradients, {}));
  parameters.emplace_back("more", at::ones({2}).set_requires_grad(true));
  LocalGradients of_more(parameters);
  AdamW more(of_more, {});
  test::expect_error([&] { load_optimizer(directory / "moments", more); }, {"more.exp_avg"});
  const NamedParameters other = {{"matrix", at::ones({2, 3}).set_requires_grad(true)}};
  LocalGradients of_other(other);
  AdamW misshapen(of_other, {});
  test::expect_error([&] { load_optimizer(directory / "moments", misshapen); },
                     {"matrix.exp_avg", "shape"});
}

}  // namespace
}  // namespace continuo
