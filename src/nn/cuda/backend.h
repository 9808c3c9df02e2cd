// The backend of GPUs: LibTorch's operators, with its flash attention over documents of any length,
// and kernels of our own. A kernel replaces the operator that it is tested against only once it has
// passed its test on a card; docs/devices.md says which have.
#pragma once

#include "nn/backend.h"
#include "nn/cuda/kernels/kernels.h"

namespace continuo {

enum class CudaKernels {
  kProven,  // those that have passed their tests on a card
  kAll,     // all that there are
};

// Error: kAll in a build without kernels of our own.
const Backend& cuda_backend(CudaKernels which);

// The kernels that cuda_backend calls, null: none. Programs name them once, before the first model.
void install_cuda_kernels(const cuda::Kernels* kernels);
// Those of this build, or null.
const cuda::Kernels* built_cuda_kernels();

}  // namespace continuo
