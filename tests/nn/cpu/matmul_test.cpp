// The matrix products of training: kernels against double precision for every instruction set, and
// the tensor functions.
#include "nn/cpu/matmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "nn/cpu/kernels/kernels.h"
#include "support/threads.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;

class GemmKernelTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    table_ = kernels_for(GetParam());
    if (!table_) GTEST_SKIP() << "this CPU has no " << GetParam();
  }

  // A [m, k] · B [k, n] where each lies along rows or columns; small integers, so that every sum is
  // exact.
  template <class T>
  void check(int64_t m, int64_t n, int64_t k, Along a_along, Along b_along) const {
    const GemmKernels<T>& kernel = table_->gemm<T>();
    const auto a_at = [](int64_t i, int64_t j) {
      return static_cast<float>((i * 7 + j * 3) % 11 - 5);
    };
    const auto b_at = [](int64_t i, int64_t j) {
      return static_cast<float>((i * 5 + j * 2) % 9 - 4);
    };
    const auto stored = [](float x) {
      if constexpr (sizeof(T) == 4) {
        return x;
      } else {
        uint32_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        return static_cast<uint16_t>(bits >> 16);
      }
    };
    const int64_t a_stride = (a_along == Along::rows ? k : m) + 3,
                  b_stride = (b_along == Along::rows ? k : n) + 5;
    std::vector<T> a((a_along == Along::rows ? m : k) * a_stride),
        b((b_along == Along::rows ? n : k) * b_stride);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t s = 0; s < k; ++s)
        a[a_along == Along::rows ? i * a_stride + s : s * a_stride + i] = stored(a_at(i, s));
    }
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t s = 0; s < k; ++s)
        b[b_along == Along::rows ? j * b_stride + s : s * b_stride + j] = stored(b_at(s, j));
    }
    const auto up = [](int64_t x, int64_t multiple) {
      return (x + multiple - 1) / multiple * multiple;
    };
    const int64_t packed_k = up(k, kernel.depth);
    const int64_t packed_bytes = packed_k * kernel.element;
    std::vector<std::byte> left(up(m, kernel.rows) * packed_bytes, std::byte(1)),
        right(up(n, kernel.columns) * packed_bytes, std::byte(1));
    kernel.pack_left({a_along, m, k, a.data(), a_stride}, packed_k, left.data());
    kernel.pack_right({b_along, n, k, b.data(), b_stride}, packed_k, right.data());
    const int64_t stride = n + 2;
    std::vector<float> c(m * stride, 0.5f);
    for (int64_t p = 0; p < n; p += kernel.columns) {
      kernel.multiply_float({.along = a_along,
                             .rows = m,
                             .columns = std::min(kernel.columns, n - p),
                             .packed_k = packed_k,
                             .left = left.data(),
                             .right = right.data() + p * packed_bytes,
                             .c = c.data() + p,
                             .stride = stride,
                             .add = true});
    }
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double exact = 0.5;
        for (int64_t s = 0; s < k; ++s) exact += a_at(i, s) * b_at(s, j);
        ASSERT_EQ(c[i * stride + j], exact) << i << ' ' << j;
      }
      ASSERT_EQ(c[i * stride + n], 0.5f);  // what lies between rows is not touched
    }
  }

  const Kernels* table_ = nullptr;
};

TEST_P(GemmKernelTest, AllShapesAndLayoutsAreExact) {
  for (const Along a : {Along::rows, Along::columns}) {
    for (const Along b : {Along::rows, Along::columns}) {
      for (const auto& [m, n, k] : {std::tuple{1, 1, 1},
                                    {12, 32, 32},
                                    {13, 33, 31},
                                    {24, 64, 64},
                                    {5, 70, 47},
                                    {37, 15, 96},
                                    // Segments of k, and as many rows as a call may have.
                                    {25, 33, 600},
                                    {kGemmMostRows, 40, 257}}) {
        SCOPED_TRACE(testing::Message()
                     << m << 'x' << n << 'x' << k << " layouts " << int(a) << int(b));
        check<float>(m, n, k, a, b);
        check<uint16_t>(m, n, k, a, b);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GemmKernelTest, testing::ValuesIn(kInstructionSets),
                         [](const auto& test) { return std::string(test.param); });

// Whoever computes them, our kernels or ATen.
class MatmulTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::Tensor random(int64_t rows, int64_t columns) const {
    return at::randn({rows, columns}).to(GetParam());
  }
  // Relative to the largest value: rounding of the result, and of sums in another order.
  void expect_near(const at::Tensor& value, const at::Tensor& exact) const {
    const double bound = value.scalar_type() == at::kFloat ? 2e-5 : 1e-2;
    EXPECT_LT(max_difference(value.to(at::kDouble), exact),
              bound * exact.abs().max().item<double>());
  }
  static at::Tensor wide(const at::Tensor& x) { return x.to(at::kDouble); }
};

TEST_P(MatmulTest, ProductsAreThoseOfDoublePrecision) {
  // The second cuts k, the third also the columns of the right operand, the last the rows.
  for (const auto& [m, n, k] :
       {std::tuple{70, 50, 33}, {30, 40, 7001}, {20, 3000, 1600}, {700, 70, 900}}) {
    SCOPED_TRACE(testing::Message() << m << 'x' << n << 'x' << k);
    const at::Tensor a = random(m, k), b = random(n, k), bt = b.t().contiguous(),
                     at_ = a.t().contiguous();
    const at::Tensor exact = at::mm(wide(a), wide(b).t());
    expect_near(matmul_nt(a, b), exact);
    expect_near(matmul_nn(a, bt), exact);
    const at::Tensor tn = matmul_tn(at_, bt, at::kFloat);
    EXPECT_EQ(tn.scalar_type(), at::kFloat);
    expect_near(tn, exact);
  }
}

TEST_P(MatmulTest, SumsAreAddedTo) {
  const at::Tensor a = random(70, 96), b = random(50, 96), start = random(70, 50);
  const at::Tensor exact = wide(start) + at::mm(wide(a), wide(b).t());
  at::Tensor nt = start.clone(), nn = start.clone(), tn = start.to(at::kFloat);
  add_matmul_nt(nt, a, b);
  add_matmul_nn(nn, a, b.t().contiguous());
  add_matmul_tn(tn, a.t().contiguous(), b.t().contiguous());
  expect_near(nt, exact);
  expect_near(nn, exact);
  expect_near(tn, exact);
}

TEST_P(MatmulTest, BitsDoNotDependOnThreads) {
  const at::Tensor a = random(300, 576), b = random(200, 576);
  const auto product = [&](int threads) {
    const test::Threads these(threads);
    return matmul_nt(a, b);
  };
  const at::Tensor alone = product(1), together = product(2);
  if (!own_matmul(GetParam())) GTEST_SKIP() << "ATen promises nothing of the kind";
  EXPECT_TRUE(alone.equal(together));
}

TEST_P(MatmulTest, NothingTimesSomethingIsNothing) {
  EXPECT_EQ(matmul_nt(random(0, 8), random(4, 8)).size(0), 0);
  EXPECT_EQ(matmul_tn(random(0, 8), random(0, 4), at::kFloat).abs().max().item<double>(), 0);
}

INSTANTIATE_TEST_SUITE_P(All, MatmulTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& test) {
                           return std::string(test.param == at::kFloat ? "fp32" : "bf16");
                         });

}  // namespace
}  // namespace continuo
