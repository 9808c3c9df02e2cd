// The sum of what ranks sent, in the order of ranks: its bits depend on nothing but the values.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>

namespace continuo {

// Two summands at least. `part` may be where one of them lies.
inline void ordered_sum(const at::Tensor& part, const std::vector<at::Tensor>& summands) {
  at::Tensor sum = at::add(summands[0], summands[1]);
  for (size_t r = 2; r < summands.size(); ++r) sum.add_(summands[r]);
  part.copy_(sum);
}

}  // namespace continuo
