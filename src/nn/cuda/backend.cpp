#include "nn/cuda/backend.h"

#include "core/error.h"
#include "nn/aten/backend.h"
#include "nn/cuda/ops.h"

namespace continuo {

namespace {

Backend proven() {
  Backend backend = aten_backend();
  backend.name = "cuda";
  backend.products.tn = cuda::product_tn;
  backend.products.add_tn = cuda::add_product_tn;
  backend.attend = {.forward = cuda::attend, .backward = cuda::attend_backward};
  backend.cache.make = cuda::make_cache;
  backend.cache.attend = cuda::attend_cached;
  return backend;
}

Backend all() {
  Backend backend = proven();
  backend.quantised.product = cuda::quantised_product;
  backend.quantised.values = cuda::quantised_values;
  backend.norm = {.forward = cuda::norm, .backward = cuda::norm_backward};
  backend.rotate = {.rotate = cuda::rotate};
  backend.gate = {.forward = cuda::gate, .backward = cuda::gate_backward};
  backend.loss = {.cross_entropy = cuda::cross_entropy};
  backend.dropout = {.mask = cuda::dropout_mask};
  backend.make_executor = cuda::make_executor;
  return backend;
}

}  // namespace

const Backend& cuda_backend(CudaKernels which) {
  static const Backend kProven = proven(), kAll = all();
  if (which == CudaKernels::kProven) return kProven;
  if (!cuda::has_kernels()) {
    throw Error("cuda.kernels: all, but this build has no kernels of its own for GPUs",
                "Leave cuda.kernels at proven, or build with -DCONTINUO_CUDA=on.");
  }
  return kAll;
}

}  // namespace continuo
