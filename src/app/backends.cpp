#include "app/backends.h"

#include "nn/aten/backend.h"
#include "nn/cpu/backend.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/matmul.h"

namespace continuo {

void install_backends() {
  kernels();
  own_matmul(at::kFloat);
  install_backend(at::kCPU, host_backend());
  install_backend(at::kCUDA, aten_backend());
}

}  // namespace continuo
