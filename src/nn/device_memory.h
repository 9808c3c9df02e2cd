// Memory of a device other than the CPU, whose peak core/process.h knows.
#pragma once

#include <c10/core/Device.h>

namespace continuo {

// The most bytes that tensors have held there at once; 0 on the CPU.
double peak_device_bytes(at::Device device);

}  // namespace continuo
