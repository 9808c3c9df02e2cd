// Every backend equals the reference, function by function, forward and backward.
#include "nn/backend.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "nn/aten/backend.h"
#include "nn/cpu/backend.h"
#include "nn/cuda/backend.h"
#include "nn/rope.h"
#include "support/expect_error.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;

const Backend& reference_ops() { return aten_backend(); }

// By name. That of GPUs computes on the device of the tests where this is one; else on the CPU,
// with what stands in for a GPU there (support/cuda_on_cpu).
class BackendTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (of_gpu() && !test::runs_cuda_kernels()) GTEST_SKIP() << "CONTINUO_TEST_DEVICE is no GPU";
  }
  const Backend& ops() const { return of_gpu() ? cuda_backend(CudaKernels::kAll) : cpu_backend(); }
  at::Tensor place(const at::Tensor& host) const {
    return host.to(of_gpu() ? test::device() : at::Device(at::kCPU));
  }
  at::Tensor normal(at::IntArrayRef shape, at::ScalarType dtype = at::kFloat) const {
    return place(at::randn(shape).to(dtype));
  }

 private:
  bool of_gpu() const { return GetParam() == std::string_view("cuda"); }
};

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16};

// A few units in the last place of values around 1 to 8.
double tolerance(at::ScalarType dtype) { return dtype == at::kFloat ? 2e-5 : 0.07; }

TEST_P(BackendTest, Products) {
  for (const at::ScalarType dtype : kTypes) {
    SCOPED_TRACE(at::toString(dtype));
    const at::Tensor a = normal({70, 24}, dtype), b = normal({30, 24}, dtype),
                     c = normal({24, 30}, dtype), d = normal({70, 30}, dtype);
    const double near = 8 * tolerance(dtype);
    EXPECT_LT(max_difference(ops().products.nt(a, b), reference_ops().products.nt(a, b)), near);
    EXPECT_LT(max_difference(ops().products.nn(a, c), reference_ops().products.nn(a, c)), near);
    EXPECT_LT(max_difference(ops().products.tn(a, d, at::kFloat),
                             reference_ops().products.tn(a, d, at::kFloat)),
              1e-4);
    for (const auto member : {&ProductOps::add_nt, &ProductOps::add_nn}) {
      const at::Tensor& right = member == &ProductOps::add_nt ? b : c;
      at::Tensor sum = d.clone(), expected = d.clone();
      (ops().products.*member)(sum, a, right);
      (reference_ops().products.*member)(expected, a, right);
      EXPECT_LT(max_difference(sum, expected), near);
    }
    at::Tensor sum = place(at::ones({24, 30})), expected = place(at::ones({24, 30}));
    ops().products.add_tn(sum, a, d);
    reference_ops().products.add_tn(expected, a, d);
    EXPECT_LT(max_difference(sum, expected), 1e-4);
  }
}

TEST_P(BackendTest, Norms) {
  for (const at::ScalarType dtype : kTypes) {
    for (const bool centred : {false, true}) {
      for (const bool with_delta : {false, true}) {
        SCOPED_TRACE(testing::Message() << at::toString(dtype) << centred << with_delta);
        const NormInput input = {.residual = normal({9, 32}),
                                 .delta = with_delta ? normal({9, 32}, dtype) : at::Tensor(),
                                 .weight = normal({32}),
                                 .bias = centred ? normal({32}) : at::Tensor(),
                                 .epsilon = 1e-5,
                                 .dtype = dtype};
        const NormValues got = ops().norm.forward(input),
                         expected = reference_ops().norm.forward(input);
        EXPECT_LT(max_difference(got.sum, expected.sum), 1e-6);
        EXPECT_LT(max_difference(got.y, expected.y), tolerance(dtype));
        EXPECT_EQ(got.y.scalar_type(), dtype);
        const at::Tensor dy = normal({9, 32}, dtype);
        for (const at::Tensor& dsum : {at::Tensor(), normal({9, 32})}) {
          const NormGradients g = ops().norm.backward(input, got, dsum, dy),
                              e = reference_ops().norm.backward(input, expected, dsum, dy);
          EXPECT_LT(max_difference(g.sum, e.sum), 5e-5);
          EXPECT_LT(max_difference(g.delta, e.delta), tolerance(dtype));
          EXPECT_EQ(g.delta.scalar_type(), dtype);
          EXPECT_LT(max_difference(g.weight, e.weight), 5e-5);
          if (centred) {
            EXPECT_LT(max_difference(g.bias, e.bias), 5e-5);
          }
        }
      }
    }
  }
}

TEST_P(BackendTest, Rotation) {
  for (const at::ScalarType dtype : kTypes) {
    const Rotation rotation = {normal({6, 8}), normal({6, 8}),
                               place(at::randint(6, {11}, at::TensorOptions(at::kLong)))};
    const at::Tensor x = normal({11, 3, 16}, dtype);
    for (const double sign : {1.0, -1.0}) {
      EXPECT_LT(max_difference(ops().rotate.rotate(x, rotation, sign),
                               reference_ops().rotate.rotate(x, rotation, sign)),
                tolerance(dtype));
    }
  }
}

TEST_P(BackendTest, Gates) {
  for (const at::ScalarType dtype : kTypes) {
    for (const Activation activation :
         {Activation::silu, Activation::gelu, Activation::gelu_tanh, Activation::relu}) {
      for (const bool gated : {true, false}) {
        SCOPED_TRACE(testing::Message() << at::toString(dtype) << static_cast<int>(activation));
        const at::Tensor gate = normal({7, 40}, dtype), dy = normal({7, 40}, dtype);
        const at::Tensor up = gated ? normal({7, 40}, dtype) : at::Tensor();
        EXPECT_LT(max_difference(ops().gate.forward(gate, up, activation),
                                 reference_ops().gate.forward(gate, up, activation)),
                  tolerance(dtype));
        const auto [dgate, dup] = ops().gate.backward(dy, gate, up, activation);
        const auto [egate, eup] = reference_ops().gate.backward(dy, gate, up, activation);
        EXPECT_LT(max_difference(dgate, egate), tolerance(dtype));
        EXPECT_EQ(dup.defined(), gated);
        if (gated) {
          EXPECT_LT(max_difference(dup, eup), tolerance(dtype));
        }
      }
    }
  }
}

TEST_P(BackendTest, Attention) {
  for (const at::ScalarType dtype : kTypes) {
    for (const int64_t dim : {16, 12}) {
      for (const AttendOptions& options :
           {AttendOptions{.scale = 0.25}, AttendOptions{.scale = 0.25, .window = 9},
            AttendOptions{.scale = 0.3, .window = 70, .softcap = 2}}) {
        SCOPED_TRACE(testing::Message() << at::toString(dtype) << " dim " << dim << " window "
                                        << options.window << " cap " << options.softcap);
        const AttendInput input = {normal({120, 4, dim}, dtype),
                                   normal({120, 2, dim}, dtype),
                                   normal({120, 2, dim}, dtype),
                                   {0, 3, 20, 120},
                                   options};
        const AttendValues got = ops().attend.forward(input),
                           expected = reference_ops().attend.forward(input);
        EXPECT_LT(max_difference(got.out, expected.out), tolerance(dtype));
        if (got.lse.defined()) {
          EXPECT_LT(max_difference(got.lse, expected.lse), dtype == at::kFloat ? 1e-4 : 0.02);
        }
        const at::Tensor dout = normal({120, 4, dim}, dtype);
        const AttendGradients g = ops().attend.backward(input, expected, dout),
                              e = reference_ops().attend.backward(input, expected, dout);
        EXPECT_LT(max_difference(g.q, e.q), 2 * tolerance(dtype));
        EXPECT_LT(max_difference(g.k, e.k), 2 * tolerance(dtype));
        EXPECT_LT(max_difference(g.v, e.v), 2 * tolerance(dtype));
      }
    }
  }
}

TEST_P(BackendTest, CrossEntropy) {
  for (const at::ScalarType dtype : kTypes) {
    for (const bool weighted : {false, true}) {
      const at::Tensor logits = normal({9, 53}, dtype);
      const at::Tensor targets = place(at::randint(53, {9}, at::TensorOptions(at::kLong)));
      const RowLoss options = {.label_smoothing = 0.1,
                               .z_loss = 0.01,
                               .gradient = true,
                               .scale = 0.5,
                               .weights = weighted ? place(at::rand({8})) : at::Tensor()};
      at::Tensor a = logits.clone(), b = logits.clone();
      const RowStatistics got = ops().loss.cross_entropy(a, targets, options),
                          expected = reference_ops().loss.cross_entropy(b, targets, options);
      EXPECT_LT(max_difference(got.loss, expected.loss), 1e-4);
      EXPECT_LT(max_difference(got.nll, expected.nll), 1e-4);
      EXPECT_LT(max_difference(got.entropy, expected.entropy), 1e-4);
      EXPECT_LT(max_difference(got.correct, expected.correct), 0.5);
      EXPECT_LT(max_difference(a, b), dtype == at::kFloat ? 1e-5 : 0.01);
    }
  }
}

TEST_P(BackendTest, MasksOfDropoutAreTheSameBits) {
  const at::Tensor names =
      place(at::tensor({int64_t{1} << 32 | 7, int64_t{5}, -int64_t{3}}, at::kLong));
  for (const at::ScalarType dtype : kTypes) {
    const DropoutNoise noise = {.tokens = names,
                                .rows = 5,
                                .columns = 37,
                                .key = {0x89ABCDEF, 0xFEDCBA98},
                                .step = 12,
                                .threshold = 6554};
    const at::Tensor got = ops().dropout.mask(noise, dtype);
    EXPECT_EQ(got.scalar_type(), dtype);
    EXPECT_TRUE(got.equal(reference_ops().dropout.mask(noise, dtype)));
  }
}

INSTANTIATE_TEST_SUITE_P(All, BackendTest, testing::Values("cpu", "cuda"),
                         [](const auto& backend) { return std::string(backend.param); });

TEST(Backends, ADeviceWithoutOneIsAnError) {
  test::expect_error([] { backend_of(at::Device(at::kMeta)); }, {"meta", "no backend"});
}

}  // namespace
}  // namespace continuo
