#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>

#include "nn/aten/ops.h"

namespace continuo::aten {

namespace {

// ATen writes products in the dtype of their operands: they are widened where the result is wider.
at::Tensor product(const at::Tensor& a, const at::Tensor& b, at::ScalarType result) {
  return at::mm(a.to(result), b.to(result));
}

}  // namespace

at::Tensor product_nt(const at::Tensor& a, const at::Tensor& b) { return at::linear(a, b); }

at::Tensor product_nn(const at::Tensor& a, const at::Tensor& b) { return at::mm(a, b); }

at::Tensor product_tn(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype) {
  return product(a.t(), b, dtype);
}

void add_product_nt(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  sum.addmm_(a, b.t());
}

void add_product_nn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) { sum.addmm_(a, b); }

void add_product_tn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  if (sum.scalar_type() == a.scalar_type()) {
    sum.addmm_(a.t(), b);
  } else {
    sum.add_(product(a.t(), b, sum.scalar_type()));
  }
}

}  // namespace continuo::aten
