#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>

#include "nn/cuda/ops.h"

namespace continuo::cuda {

at::Tensor product_tn(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype) {
  return dtype == a.scalar_type() ? at::mm(a.t(), b) : at::mm(a.t(), b, dtype);
}

void add_product_tn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  // The form of addmm that widens its result wants the sum in the operands' type (LibTorch 2.11).
  if (sum.scalar_type() == a.scalar_type()) {
    sum.addmm_(a.t(), b);
  } else {
    sum.add_(at::mm(a.t(), b, sum.scalar_type()));
  }
}

}  // namespace continuo::cuda
