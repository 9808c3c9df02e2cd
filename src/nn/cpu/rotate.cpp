#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/cpu/ops.h"
#include "nn/rope.h"

namespace continuo::cpu {

at::Tensor rotate(const at::Tensor& x, const Rotation& r, double sign) {
  at::Tensor out = at::empty_like(x);
  const int64_t heads = x.size(1), dim = x.size(2), row = heads * dim;
  with_storage_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const int64_t grain = std::max<int64_t>(1, (1 << 13) / row);
    at::parallel_for(0, x.size(0), grain, [&](int64_t begin, int64_t end) {
      kernels().typed<T>().rope({.rows = end - begin,
                                 .heads = heads,
                                 .dim = dim,
                                 .in = data<T>(x) + begin * row,
                                 .positions = data<int64_t>(r.rows) + begin,
                                 .cos = data<float>(r.cos),
                                 .sin = data<float>(r.sin),
                                 .sign = static_cast<float>(sign),
                                 .out = data<T>(out) + begin * row});
    });
  });
  return out;
}

}  // namespace continuo::cpu
