// Where the tests compute: the device that CONTINUO_TEST_DEVICE names (default: cpu), and on the
// CPU the backend of CONTINUO_BACKEND.
#pragma once

#include <cstdlib>
#include <string_view>

#include <c10/core/Device.h>

#include "nn/backend.h"
#include "nn/cuda/backend.h"

namespace continuo::test {

inline at::Device device() {
  const char* setting = std::getenv("CONTINUO_TEST_DEVICE");
  return setting ? at::Device(std::string(setting)) : at::Device(at::kCPU);
}

// The others have no engine, and promise no row's bits: only the CPU's own backend does.
inline bool on_reference() { return backend_of(device()).name != std::string_view("cpu"); }

// Whether the kernels for GPUs run on the device of the tests: on a GPU, and on the CPU in builds
// where it emulates them (support/cuda_on_cpu).
inline bool runs_cuda_kernels() { return device().is_cuda() || !built_cuda_kernels(); }

}  // namespace continuo::test
