#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include "nn/aten/ops.h"
#include "nn/rope.h"

namespace continuo::aten {

at::Tensor rotate(const at::Tensor& x, const Rotation& r, double sign) {
  const int64_t half = r.cos.size(1);
  const at::Tensor cos = r.cos.index_select(0, r.rows).unsqueeze(1);
  const at::Tensor sin = r.sin.index_select(0, r.rows).unsqueeze(1) * sign;
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor first = wide.narrow(2, 0, half), second = wide.narrow(2, half, half);
  return at::cat({first * cos - second * sin, second * cos + first * sin}, 2).to(x.scalar_type());
}

}  // namespace continuo::aten
