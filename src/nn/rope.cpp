#include "nn/rope.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/core/IListRef.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/kernels/kernels.h"
#include "nn/kernels/span.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void RopeTable::ensure(int64_t length, at::Device device) {
  if (cos_.defined() && cos_.size(0) >= length && cos_.device() == device) return;
  constexpr int64_t kChunk = 512;
  const int64_t grown = std::max(length, cos_.defined() ? 2 * cos_.size(0) : kChunk);
  const at::TensorOptions options = at::TensorOptions(at::kFloat).device(device);
  // As transformers computes it (float32 powers and products), so that long positions agree to the last bit.
  const at::Tensor exponents = at::arange(0, options_.dim, 2, at::TensorOptions(at::kLong)).to(at::kFloat) /
                               static_cast<double>(options_.dim);
  const at::Tensor frequencies = 1.0 / at::pow(at::Scalar(options_.theta), exponents);
  const at::Tensor angles = at::outer(at::arange(grown, at::TensorOptions(at::kFloat)), frequencies).to(device);
  cos_ = angles.cos().to(options).contiguous();
  sin_ = angles.sin().to(options).contiguous();
}

namespace {

at::Tensor rotate_by_kernel(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos,
                            const at::Tensor& sin, float sign) {
  at::Tensor out = at::empty_like(x);
  const int64_t heads = x.size(1), dim = x.size(2), row = heads * dim;
  with_storage_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const int64_t grain = std::max<int64_t>(1, (1 << 13) / row);
    at::parallel_for(0, x.size(0), grain, [&](int64_t begin, int64_t end) {
      kernels().typed<T>().rope(end - begin, heads, dim, data<T>(x) + begin * row, data<int64_t>(positions) + begin,
                                data<float>(cos), data<float>(sin), sign, data<T>(out) + begin * row);
    });
  });
  return out;
}

struct Rotate : torch::autograd::Function<Rotate> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& positions,
                            const at::Tensor& cos, const at::Tensor& sin) {
    ctx->save_for_backward({positions, cos, sin});
    return rotate_by_kernel(x, positions, cos, sin, 1.0f);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    return {rotate_by_kernel(gradients[0].contiguous(), saved[0], saved[1], saved[2], -1.0f), at::Tensor(),
            at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, const RopeTable& table) {
  if (x.is_cpu()) return Rotate::apply(x.contiguous(), positions.contiguous(), table.cos(), table.sin());
  const at::Tensor cos = table.cos().index_select(0, positions).unsqueeze(1).to(x.scalar_type());
  const at::Tensor sin = table.sin().index_select(0, positions).unsqueeze(1).to(x.scalar_type());
  const int64_t half = x.size(2) / 2;
  const at::Tensor first = x.narrow(2, 0, half), second = x.narrow(2, half, half);
  return at::cat({first * cos - second * sin, second * cos + first * sin}, 2);
}

}  // namespace continuo
