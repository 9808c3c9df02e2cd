#include "nn/weight_matrix.h"

#include <ATen/ops/empty.h>

#include "core/error.h"

namespace continuo {

at::Tensor gather_rows(const WeightMatrix& matrix, const at::Tensor& ids) {
  const at::Tensor host = ids.to(at::kCPU).contiguous();
  const int64_t* id = host.const_data_ptr<int64_t>();
  const at::Tensor rows = at::empty({ids.size(0), matrix.in()}, at::TensorOptions(at::kFloat));
  for (int64_t i = 0; i < ids.size(0); ++i) {
    if (id[i] < 0 || id[i] >= matrix.out()) fail("the model has no token {}", id[i]);
    rows[i].copy_(matrix.rows(id[i], id[i] + 1)[0]);
  }
  return rows.to(ids.device());
}

}  // namespace continuo
