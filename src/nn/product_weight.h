// How products read a weight that may lie anywhere.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "nn/weight_matrix.h"

namespace continuo {

// A weight as products read it: in memory, in their dtype, or wherever else it lies, and then made
// anew for each of them.
class ProductWeight {
 public:
  ProductWeight() = default;
  ProductWeight(const at::Tensor& cast) : cast_(cast) {}
  explicit ProductWeight(const WeightMatrix& stored) : stored_(stored) {}

  bool in_memory() const { return cast_.defined(); }
  int64_t out() const { return in_memory() ? cast_.size(0) : stored_.out(); }
  // Rows [begin, end) in `dtype`, contiguous; of a weight in memory it is its own.
  at::Tensor rows(int64_t begin, int64_t end, at::ScalarType dtype) const {
    if (in_memory()) return cast_.narrow(0, begin, end - begin);
    return stored_.rows(begin, end).to(dtype).contiguous();
  }
  at::Tensor values(at::ScalarType dtype) const { return rows(0, out(), dtype); }

 private:
  at::Tensor cast_;
  WeightMatrix stored_;
};

}  // namespace continuo
