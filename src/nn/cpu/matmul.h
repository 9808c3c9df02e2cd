// Products of matrices in float32 or bfloat16 with sums in float32, by our own kernels (matmul.cpp
// says with which exception). CONTINUO_MATMUL=own|aten in the environment overrides that. What the
// functions compute is said at ProductOps of nn/backend.h.
#pragma once

#include <ATen/core/Tensor.h>

namespace continuo {

// a [M, K] · b [N, K]ᵀ → [M, N] in the dtype of a. A layer's forward pass.
at::Tensor matmul_nt(const at::Tensor& a, const at::Tensor& b);
// a [M, K] · b [K, N] → [M, N] in the dtype of a. Its gradient by the input.
at::Tensor matmul_nn(const at::Tensor& a, const at::Tensor& b);
// a [K, M]ᵀ · b [K, N] → [M, N] in `dtype`, float32 or that of a. Its gradient by the weight.
at::Tensor matmul_tn(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype);
// sum [M, N], in the dtype of a, += the same products; it is rounded once. For _tn it may be
// float32 whatever a is.
void add_matmul_nt(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);
void add_matmul_nn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);
void add_matmul_tn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);

// True where our kernels compute products whose result has this dtype on the CPU. Error:
// CONTINUO_MATMUL is neither.
bool own_matmul(at::ScalarType result);

}  // namespace continuo
