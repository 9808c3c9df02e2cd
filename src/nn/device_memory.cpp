#include "nn/device_memory.h"

#include <c10/core/CachingDeviceAllocator.h>

namespace continuo {

double peak_device_bytes(at::Device device) {
  if (!device.is_cuda()) return 0;
  const auto stats = at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return static_cast<double>(stats.allocated_bytes[kAll].peak);
}

}  // namespace continuo
