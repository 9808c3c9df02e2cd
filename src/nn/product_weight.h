// How products read a weight that may lie anywhere.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "nn/quantised_weight.h"
#include "nn/weight_matrix.h"

namespace continuo {

// A weight as products read it: in memory, in their dtype; in 8 or 4 bits; or wherever else it
// lies, and then made anew for each of them.
class ProductWeight {
 public:
  ProductWeight() = default;
  ProductWeight(const at::Tensor& cast) : cast_(cast) {}
  // Of products on `device`.
  ProductWeight(const WeightMatrix& stored, at::Device device) : stored_(stored), device_(device) {}
  explicit ProductWeight(const QuantisedWeight& quantised) : quantised_(quantised) {}

  bool in_memory() const { return cast_.defined(); }
  int64_t out() const;
  // Rows [begin, end) in `dtype`, contiguous; of a weight in memory it is its own.
  at::Tensor rows(int64_t begin, int64_t end, at::ScalarType dtype) const;
  at::Tensor values(at::ScalarType dtype) const { return rows(0, out(), dtype); }
  // x [M, in] → x·Wᵀ [M, out] in the dtype of x.
  at::Tensor product(const at::Tensor& x) const;

 private:
  at::Tensor cast_;
  WeightMatrix stored_;
  at::Device device_ = at::kCPU;
  QuantisedWeight quantised_;
};

}  // namespace continuo
