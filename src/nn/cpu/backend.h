// The CPU's backend: our kernels (nn/cpu/kernels), chosen for the instruction set at run time.
#pragma once

#include "nn/backend.h"

namespace continuo {

const Backend& cpu_backend();

// What computes on the CPU: `cpu`, or what CONTINUO_BACKEND=cpu|aten in the environment names.
// Error: another name.
const Backend& host_backend();

}  // namespace continuo
