#include "app/backends.h"

#include "nn/cpu/backend.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/matmul.h"
#include "nn/cuda/backend.h"
#include "nn/cuda/device_graph.h"

namespace continuo {

void install_backends() {
  kernels();
  own_matmul(at::kFloat);
  install_backend(at::kCPU, host_backend());
  install_cuda_kernels(built_cuda_kernels());
  install_device_graphs(built_device_graphs());
  install_backend(at::kCUDA, cuda_backend(CudaKernels::kProven));
}

}  // namespace continuo
