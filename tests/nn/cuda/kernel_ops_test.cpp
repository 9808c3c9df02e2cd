// The kernels of GPUs against formulas in double, over shapes that fit no vector, warp or block; on
// the device of the tests where this is a GPU, else as the CPU runs them (support/cuda_on_cpu).
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "nn/aten/ops.h"
#include "nn/cuda/backend.h"
#include "nn/cuda/ops.h"
#include "nn/rope.h"
#include "support/backend.h"
#include "support/expect_error.h"

namespace continuo {
namespace {

// The largest difference as a share of the expected values' own size.
double error_of(const at::Tensor& got, const at::Tensor& expected) {
  const at::Tensor difference = (got.to(at::kCPU, at::kDouble) - expected).abs();
  return (difference / (1 + expected.abs())).max().item<double>();
}

at::Tensor wide(const at::Tensor& x) { return x.to(at::kCPU, at::kDouble); }

class CudaKernelTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (!test::runs_cuda_kernels()) GTEST_SKIP() << "CONTINUO_TEST_DEVICE is no GPU";
  }
  static at::Tensor place(const at::Tensor& x) { return x.to(test::device()); }
  static at::Tensor floats(at::IntArrayRef shape) { return place(at::randn(shape)); }
  static at::Tensor normal(at::IntArrayRef shape) { return place(at::randn(shape).to(GetParam())); }
  // A rounding to the type, or sums in float32.
  static double near() { return GetParam() == at::kBFloat16 ? 5e-3 : 3e-6; }
};

TEST_P(CudaKernelTest, RmsNormsOfAllWidths) {
  for (const int64_t hidden : {1, 3, 31, 64, 130, 1000, 1024, 1026, 1028, 5001}) {
    const int64_t rows = hidden > 1024 ? 5 : 261;
    SCOPED_TRACE(hidden);
    const NormInput in = {.residual = floats({rows, hidden}),
                          .delta = normal({rows, hidden}),
                          .weight = floats({hidden}),
                          .bias = {},
                          .epsilon = 1e-5,
                          .dtype = GetParam()};
    const NormValues values = cuda::norm(in);
    at::Tensor residual = wide(in.residual).set_requires_grad(true),
               weight = wide(in.weight).set_requires_grad(true);
    const at::Tensor sum = residual + wide(in.delta);
    const at::Tensor y = sum / (sum.pow(2).mean(1, /*keepdim=*/true) + in.epsilon).sqrt() * weight;
    EXPECT_LT(error_of(values.sum, sum.detach()), 1e-6);
    EXPECT_LT(error_of(values.y, y.detach()), near());
    const at::Tensor dy = normal({rows, hidden}), dsum = floats({rows, hidden});
    const NormGradients g = cuda::norm_backward(in, values, dsum, dy);
    const auto expected =
        torch::autograd::grad({y, sum}, {residual, weight}, {wide(dy), wide(dsum)});
    EXPECT_LT(error_of(g.sum, expected[0]), 1e-5);
    EXPECT_LT(error_of(g.delta, expected[0]), GetParam() == at::kBFloat16 ? 5e-3 : 1e-5);
    EXPECT_LT(error_of(g.weight, expected[1]), 1e-5);
  }
}

TEST_P(CudaKernelTest, RowsThatBeginAtAnyAddress) {
  const at::Tensor all = floats({4 * 64 + 1});
  const NormInput in = {.residual = all.narrow(0, 1, 4 * 64).view({4, 64}),
                        .delta = {},
                        .weight = all.narrow(0, 1, 64),
                        .bias = {},
                        .epsilon = 1e-5,
                        .dtype = GetParam()};
  const at::Tensor x = wide(in.residual);
  const at::Tensor y =
      x / (x.pow(2).mean(1, /*keepdim=*/true) + in.epsilon).sqrt() * wide(in.weight);
  EXPECT_LT(error_of(cuda::norm(in).y, y), near());
}

TEST_P(CudaKernelTest, RotationsOfAllWidths) {
  for (const int64_t half : {1, 3, 8, 34}) {
    const at::Tensor x = normal({13, 3, 2 * half});
    const at::Tensor angles = at::rand({7, half}) * 6;
    const at::Tensor rows = at::randint(7, {13}, at::TensorOptions(at::kLong));
    const Rotation rotation = {place(angles.cos()), place(angles.sin()), place(rows)};
    const at::Tensor cos = wide(angles.cos()).index_select(0, rows).unsqueeze(1),
                     sin = wide(angles.sin()).index_select(0, rows).unsqueeze(1);
    const at::Tensor first = wide(x).narrow(2, 0, half), second = wide(x).narrow(2, half, half);
    for (const double sign : {1.0, -1.0}) {
      const at::Tensor got = cuda::rotate(x, rotation, sign);
      EXPECT_LT(error_of(got.narrow(2, 0, half), first * cos - second * sin * sign), near());
      EXPECT_LT(error_of(got.narrow(2, half, half), second * cos + first * sin * sign), near());
    }
  }
}

at::Tensor activated(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return at::silu(x);
    case Activation::gelu:
      return at::gelu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::relu:
      break;
  }
  return at::relu(x);
}

TEST_P(CudaKernelTest, QuantisedProductsOfAllWidths) {
  for (const WeightFormat format : {WeightFormat::q8, WeightFormat::q4}) {
    for (const auto& [out, in] : {std::pair{1, 1}, {31, 33}, {33, 34}, {32, 64}, {70, 576}}) {
      const QuantisedWeight w = quantise(at::randn({out, in}), format, test::device());
      const at::Tensor weights = wide(aten::quantised_values(w, at::kFloat));
      EXPECT_LT(error_of(cuda::quantised_values(w, GetParam()), weights), near());
      for (const int64_t rows : {0, 1, 2, 3, 5, 8, 9, 33}) {
        SCOPED_TRACE(testing::Message()
                     << name(format) << ": " << rows << " × " << in << " × " << out);
        const at::Tensor x = normal({rows, in}) / std::sqrt(static_cast<double>(in));
        const at::Tensor y = cuda::quantised_product(x, w);
        ASSERT_EQ(y.sizes(), at::IntArrayRef({rows, out}));
        EXPECT_EQ(y.scalar_type(), GetParam());
        if (rows == 0) continue;
        // Many rows read weights that are rounded to their own type.
        EXPECT_LT(error_of(y, wide(x).mm(weights.t())), rows > 32 ? 4 * near() : near());
      }
    }
  }
}

TEST_P(CudaKernelTest, Gates) {
  for (const Activation activation :
       {Activation::silu, Activation::gelu, Activation::gelu_tanh, Activation::relu}) {
    for (const int64_t width : {5, 36}) {
      for (const bool gated : {true, false}) {
        SCOPED_TRACE(testing::Message() << static_cast<int>(activation) << " " << width << gated);
        const at::Tensor gate = normal({7, width}) * 3, dy = normal({7, width});
        const at::Tensor up = gated ? normal({7, width}) : at::Tensor();
        at::Tensor x = wide(gate).set_requires_grad(true);
        at::Tensor u = gated ? wide(up) : at::ones_like(x);
        u.set_requires_grad(true);
        const at::Tensor y = activated(x, activation) * u;
        EXPECT_LT(error_of(cuda::gate(gate, up, activation), y.detach()), near());
        const auto [dgate, dup] = cuda::gate_backward(dy, gate, up, activation);
        const auto expected = torch::autograd::grad({y}, {x, u}, {wide(dy)});
        EXPECT_LT(error_of(dgate, expected[0]), near());
        EXPECT_EQ(dup.defined(), gated);
        if (gated) {
          EXPECT_LT(error_of(dup, expected[1]), near());
        }
      }
    }
  }
}

struct Row {
  at::Tensor logits, targets;
};

void expect_cross_entropy(const Row& row, const RowLoss& options, double near) {
  const double vocabulary = static_cast<double>(row.logits.size(1));
  at::Tensor x = wide(row.logits).set_requires_grad(true);
  const at::Tensor target = row.targets.cpu().unsqueeze(1);
  const at::Tensor logp = at::log_softmax(x, 1), lse = x.logsumexp(1);
  const at::Tensor nll = -logp.gather(1, target).squeeze(1);
  const at::Tensor loss = (1 - options.label_smoothing) * nll -
                          options.label_smoothing * logp.sum(1) / vocabulary +
                          options.z_loss * lse * lse;
  at::Tensor factor = at::full({x.size(0)}, options.scale, at::kDouble);
  if (options.weights.defined()) {
    factor.narrow(0, 0, options.weights.size(0)).mul_(wide(options.weights));
  }
  const auto expected = torch::autograd::grad({(loss * factor).sum()}, {x});
  at::Tensor logits = row.logits.clone();
  const RowStatistics s = cuda::cross_entropy(logits, row.targets, options);
  EXPECT_LT(error_of(s.loss, loss.detach()), 2e-6);
  EXPECT_LT(error_of(s.nll, nll.detach()), 2e-6);
  EXPECT_LT(error_of(s.entropy, -(logp.exp() * logp).sum(1).detach()), 2e-6);
  EXPECT_TRUE(
      s.correct.cpu().eq(x.argmax(1).eq(row.targets.cpu()).to(at::kFloat)).all().item<bool>());
  EXPECT_LT(error_of(logits, options.gradient ? expected[0] : wide(row.logits)), near);
}

TEST_P(CudaKernelTest, CrossEntropiesOfAllVocabularies) {
  for (const int64_t vocabulary : {1, 2, 31, 53, 1000, 4099, 49152}) {
    SCOPED_TRACE(vocabulary);
    const int64_t rows = vocabulary > 4099 ? 3 : 9;
    const Row row = {normal({rows, vocabulary}) * 3,
                     place(at::randint(vocabulary, {rows}, at::TensorOptions(at::kLong)))};
    expect_cross_entropy(row, {.gradient = true, .weights = {}}, near());
    expect_cross_entropy(row, {.gradient = false, .weights = {}}, near());
    expect_cross_entropy(row,
                         {.label_smoothing = 0.1,
                          .z_loss = 0.01,
                          .gradient = true,
                          .scale = 0.5,
                          .weights = place(at::rand({rows - 1}))},
                         near());
  }
}

TEST_P(CudaKernelTest, TheEntropyOfLargeLogitsIsExact) {
  const at::Tensor logits = normal({4, 100});
  const Row row = {(logits + 1000), place(at::arange(4))};
  // bfloat16 has steps of 4 around 1000: most logits tie, and the first of the largest is the best.
  expect_cross_entropy(row, {.gradient = true, .weights = {}}, near());
}

TEST(CudaKernels, AreAnErrorWhereABuildHasNone) {
  install_cuda_kernels(nullptr);
  test::expect_error([] { cuda_backend(CudaKernels::kAll); }, {"cuda.kernels", "CONTINUO_CUDA=on"});
  EXPECT_STREQ(cuda_backend(CudaKernels::kProven).name, "cuda");
  install_cuda_kernels(&cuda::compiled_kernels());
}

INSTANTIATE_TEST_SUITE_P(Types, CudaKernelTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& type) {
                           return std::string(type.param == at::kFloat ? "fp32" : "bf16");
                         });

}  // namespace
}  // namespace continuo
