#include "io/calibrated_blocks.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_cholesky.h>
#include <ATen/ops/mm.h>

#include "core/error.h"
#include "io/half.h"
#include "io/line_blocks.h"

namespace continuo {
namespace {

constexpr double kDamping = 0.01;
// Columns whose errors reach those behind them in one product. A multiple of every block's size.
constexpr int64_t kChunk = 256;

void check(GgmlType type, const at::Tensor& matrix, int64_t inputs) {
  const GgmlFormat& format = ggml_format(type);
  if (!find_line_format(type)) fail("blocks of {} cannot be calibrated", format.name);
  if (matrix.dim() != 2 || matrix.size(1) % format.block_size != 0) {
    fail("a tensor of {} values is no matrix of rows of whole blocks of {}", matrix.numel(),
         format.name);
  }
  if (matrix.size(1) != inputs)
    fail("a matrix of {} inputs cannot go by {}", matrix.size(1), inputs);
  const double largest = matrix.abs().max().item<double>();
  if (!(largest <= kLargestHalf)) {
    fail("the value {} cannot be stored as {}: it must be finite and at most {}", largest,
         format.name, kLargestHalf);
  }
}

}  // namespace

InputFactor::InputFactor(const at::Tensor& inputs) {
  const at::Tensor rows = inputs.to(at::kFloat);
  at::Tensor moments = at::mm(rows.t(), rows).to(at::kCPU, at::kDouble);
  if (!moments.isfinite().all().item<bool>()) fail("the inputs of a product are not finite");
  at::Tensor diagonal = moments.diagonal();
  const double mean = diagonal.mean().item<double>();
  diagonal.add_(mean > 0 ? kDamping * mean : 1.0);
  const at::Tensor inverse = at::cholesky_inverse(at::linalg_cholesky(moments));
  factor_ = at::linalg_cholesky(inverse, /*upper=*/true).to(at::kFloat).contiguous();
}

at::Tensor calibrated_blocks(GgmlType type, const at::Tensor& matrix, const InputFactor& by) {
  check(type, matrix, by.inputs());
  const LineFormat& format = *find_line_format(type);
  const GgmlFormat& stored = ggml_format(type);
  const int64_t out = matrix.size(0), in = matrix.size(1);
  const int64_t row_bytes = in / stored.block_size * stored.block_bytes;
  const at::Tensor& factor = by.factor();
  const at::Tensor weights = factor.diagonal().pow(-2).contiguous();
  at::Tensor values = matrix.detach().to(at::kCPU, at::kFloat, false, /*copy=*/true).contiguous();
  at::Tensor errors = at::empty({out, kChunk}, values.options());
  at::Tensor blocks = at::empty({out, row_bytes}, at::kByte);
  for (int64_t begin = 0; begin < in; begin += kChunk) {
    const int64_t count = std::min(kChunk, in - begin), end = begin + count;
    const Compensation compensation = {factor.const_data_ptr<float>() + begin * (in + 1), in,
                                       weights.const_data_ptr<float>() + begin};
    at::parallel_for(0, out, 1, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        compensated_blocks(format, compensation, count,
                           values.mutable_data_ptr<float>() + r * in + begin,
                           errors.mutable_data_ptr<float>() + r * kChunk,
                           blocks.mutable_data_ptr<uint8_t>() + r * row_bytes +
                               begin / stored.block_size * stored.block_bytes);
      }
    });
    values.narrow(1, end, in - end)
        .addmm_(errors.narrow(1, 0, count), factor.narrow(0, begin, count).narrow(1, end, in - end),
                1, -1);
  }
  return blocks;
}

}  // namespace continuo
