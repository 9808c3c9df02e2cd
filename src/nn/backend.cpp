#include "nn/backend.h"

#include <array>
#include <atomic>

#include "core/error.h"

namespace continuo {

namespace {

// By device type. The one piece of state that nn shares: an autograd function's backward pass has
// nothing but its tensors to know the device by.
std::array<std::atomic<const Backend*>, at::COMPILE_TIME_MAX_DEVICE_TYPES> g_backends{};

}  // namespace

const Backend& backend_of(at::Device device) {
  const Backend* backend =
      g_backends[static_cast<size_t>(device.type())].load(std::memory_order_acquire);
  if (!backend) fail("nothing computes on {}: no backend was installed for it", device.str());
  return *backend;
}

void install_backend(at::DeviceType type, const Backend& backend) {
  g_backends[static_cast<size_t>(type)].store(&backend, std::memory_order_release);
}

}  // namespace continuo
