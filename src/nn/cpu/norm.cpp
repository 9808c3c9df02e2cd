#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include "nn/aten/ops.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/cpu/ops.h"

namespace continuo::cpu {

namespace {

constexpr int64_t kRowGrain = 16;
// Row blocks of the backward pass, each with a partial weight gradient: a fixed number, so that the
// sum does not depend on the thread count.
constexpr int64_t kBlocks = 16;

}  // namespace

NormValues norm(const NormInput& in) {
  if (in.bias.defined()) return aten::norm(in);
  const at::Tensor& residual = in.residual;
  const int64_t rows = residual.size(0), hidden = residual.size(1);
  NormValues values;
  values.sum = in.delta.defined() ? at::empty_like(residual) : residual;
  values.y = at::empty(residual.sizes(), residual.options().dtype(in.dtype));
  values.rstd = at::empty({rows}, residual.options());
  with_storage_type(in.dtype, [&](auto type) {
    using T = decltype(type);
    const float* r = data<float>(residual);
    const T* d = in.delta.defined() ? data<T>(in.delta) : nullptr;
    float* sum = data<float>(values.sum);
    T* y = data<T>(values.y);
    float* rstd = data<float>(values.rstd);
    const float* w = data<float>(in.weight);
    at::parallel_for(0, rows, kRowGrain, [&](int64_t begin, int64_t end) {
      kernels().typed<T>().add_rms_norm({.rows = end - begin,
                                         .hidden = hidden,
                                         .residual = r + begin * hidden,
                                         .delta = d ? d + begin * hidden : nullptr,
                                         .weight = w,
                                         .eps = static_cast<float>(in.epsilon),
                                         .sum = sum + begin * hidden,
                                         .y = y + begin * hidden,
                                         .rstd = rstd + begin});
    });
  });
  return values;
}

NormGradients norm_backward(const NormInput& in, const NormValues& values, const at::Tensor& dsum,
                            const at::Tensor& dy) {
  if (in.bias.defined()) return aten::norm_backward(in, values, dsum, dy);
  const at::Tensor& x = values.sum;
  const int64_t rows = x.size(0), hidden = x.size(1);
  const int64_t block = (rows + kBlocks - 1) / kBlocks;
  NormGradients g;
  g.sum = at::empty_like(x);
  // In float32 the gradient of delta is that of the residual, value for value.
  const bool narrow = in.dtype != at::kFloat;
  g.delta = narrow ? at::empty(x.sizes(), x.options().dtype(in.dtype)) : g.sum;
  at::Tensor partial = at::zeros({kBlocks, hidden}, x.options());
  with_storage_type(in.dtype, [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, kBlocks, 1, [&](int64_t first, int64_t last) {
      for (int64_t b = first; b < last; ++b) {
        const int64_t begin = std::min(b * block, rows), end = std::min(begin + block, rows);
        const int64_t offset = begin * hidden;
        kernels().typed<T>().add_rms_norm_backward(
            {.rows = end - begin,
             .hidden = hidden,
             .dy = data<T>(dy) + offset,
             .dsum = dsum.defined() ? data<float>(dsum) + offset : nullptr,
             .sum = data<float>(x) + offset,
             .weight = data<float>(in.weight),
             .rstd = data<float>(values.rstd) + begin,
             .dx = data<float>(g.sum) + offset,
             .ddelta = narrow ? data<T>(g.delta) + offset : nullptr,
             .dweight = data<float>(partial) + b * hidden});
      }
    });
  });
  g.weight = partial.sum(0);
  return g;
}

}  // namespace continuo::cpu
