// Packed matrices: what is stored shorter, and that it is the same matrix.
#include "nn/cpu/packed_matrix.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "nn/cpu/kernels/kernels.h"

namespace continuo {
namespace {

at::Tensor gaussian(int64_t out, int64_t in, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::normal(0.0, 0.05, {out, in}, generator);
}

at::Tensor times(const PackedMatrix& w, const at::Tensor& x, int64_t out) {
  at::Tensor padded = at::zeros({x.size(0), w.stride_in()}),
             y = at::zeros({x.size(0), w.stride_out()});
  padded.narrow(1, 0, x.size(1)).copy_(x);
  PackedScratch scratch;
  scratch.fit(w.reads, padded.numel());
  prepare(w, 0, x.size(0), padded.const_data_ptr<float>(), scratch);
  product(w, x.size(0), prepared(padded.const_data_ptr<float>(), scratch), 0, w.panels,
          y.mutable_data_ptr<float>());
  return y.narrow(1, 0, out);
}

TEST(PackedMatrix, TrainedLookingWeightsAreStoredShorterAndStayTheSame) {
  if (!kernels().packed.compresses) GTEST_SKIP() << "this CPU reads plain panels faster";
  at::Tensor w = gaussian(70, 100, 1);
  w[3][4] = 1e-20f;  // has no code
  w[69][99] = 0.0f;
  const at::Tensor rounded = w.to(at::kBFloat16).to(at::kFloat), x = gaussian(9, 100, 2);
  struct Expected {
    WeightFormat asked;
    PanelFormat stored;
    at::Tensor given, kept;
  };
  for (const Expected& e : {Expected{WeightFormat::f32, PanelFormat::f32_in_28, w, w},
                            Expected{WeightFormat::f32, PanelFormat::f32_in_12, rounded, rounded},
                            Expected{WeightFormat::bf16, PanelFormat::bf16_in_12, w, rounded}}) {
    const int64_t plain = 3 * panel_bytes(plain_panels(e.asked), 100);
    PanelArena arena(plain);
    const PackedMatrix packed =
        pack(arena, e.asked, PanelRows({e.given.narrow(0, 0, 30), e.given.narrow(0, 30, 40)}));
    EXPECT_EQ(packed.format(), e.stored);
    EXPECT_LT(packed.bytes(), plain);
    EXPECT_FALSE(packed.exceptions.empty());
    EXPECT_TRUE(at::equal(unpack(packed, 70), e.kept));
    const at::Tensor seen = e.asked == WeightFormat::bf16 ? x.to(at::kBFloat16).to(at::kFloat) : x;
    const at::Tensor exact = at::matmul(seen.to(at::kDouble), e.kept.to(at::kDouble).t());
    const at::Tensor many = times(packed, x, 70);
    EXPECT_LT((many - exact).abs().max().item<double>(), 1e-6);
    EXPECT_TRUE(at::equal(times(packed, x.narrow(0, 8, 1), 70), many.narrow(0, 8, 1)));
  }
}

TEST(PackedMatrix, WeightsOfAllMagnitudesAreStoredPlain) {
  const at::Tensor w = at::exp(gaussian(32, 64, 3) * 400);
  for (const WeightFormat format : {WeightFormat::f32, WeightFormat::bf16}) {
    PanelArena arena(panel_bytes(plain_panels(format), 64));
    const PackedMatrix packed = pack(arena, format, PanelRows({w}));
    EXPECT_EQ(packed.format(), plain_panels(format));
    EXPECT_TRUE(at::equal(unpack(packed, 32),
                          format == WeightFormat::f32 ? w : w.to(at::kBFloat16).to(at::kFloat)));
  }
}

}  // namespace
}  // namespace continuo
