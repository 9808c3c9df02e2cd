// A graph of the emulated device.
#pragma once

#include <memory>

#include "nn/cuda/device_graph.h"

namespace continuo::test {

std::unique_ptr<DeviceGraph> make_replayed_graph(at::Device device);

}  // namespace continuo::test
