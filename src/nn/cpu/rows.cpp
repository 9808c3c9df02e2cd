#include <algorithm>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/cpu/matmul.h"
#include "nn/cpu/ops.h"

namespace continuo::cpu {

namespace {

template <class T>
at::Tensor rows_of_type(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const int64_t rows = x.size(0), in = x.size(1), out = weight.size(0);
  at::Tensor y = at::empty({rows, out}, x.options());
  std::vector<float> wide;
  const float* wide_x = nullptr;
  if constexpr (sizeof(T) == sizeof(float)) {
    wide_x = data<float>(x);
  } else {
    wide.resize(rows * in);
    kernels().typed<T>().widen(rows * in, data<T>(x), wide.data());
    wide_x = wide.data();
  }
  const at::Tensor float_bias = bias.defined() ? bias.to(at::kFloat).contiguous() : at::Tensor();
  const float* b = bias.defined() ? data<float>(float_bias) : nullptr;
  const T* w = data<T>(weight);
  T* result = data<T>(y);
  // Work below a few hundred thousand products costs less than waking the other threads.
  const int64_t grain = std::max<int64_t>(4, 1 + (1 << 16) / std::max<int64_t>(1, rows * in));
  at::parallel_for(0, out, grain, [&](int64_t begin, int64_t end) {
    kernels().typed<T>().linear_rows(rows, in, out, begin, end, wide_x, w, b, result);
  });
  return y;
}

}  // namespace

at::Tensor product_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return with_storage_type(
      x.scalar_type(), [&](auto type) { return rows_of_type<decltype(type)>(x, weight, bias); });
}

// oneDNN compiles and keeps a bfloat16 product for every number of rows that it meets.
int64_t row_multiple(at::ScalarType dtype) {
  constexpr int64_t kRows = 64;
  return dtype == at::kBFloat16 && !own_matmul(dtype) ? kRows : 1;
}

}  // namespace continuo::cpu
