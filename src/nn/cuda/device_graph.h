// Work of a device that is recorded once and then launched as one: CUDA graphs, whose launch costs
// what one kernel's does.
#pragma once

#include <functional>
#include <memory>

#include <c10/core/Device.h>

namespace continuo {

class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  // Runs `work` as it is, for what is made only once, then records it. It asks the device nothing,
  // sends it nothing, and all memory that it reads and that is not its own stays where it is.
  virtual void record(const std::function<void()>& work) = 0;
  virtual void replay() = 0;
};

using MakeDeviceGraph = std::unique_ptr<DeviceGraph> (*)(at::Device device);

// Those that executors of GPUs record, null: none. Programs name them once, before the first model.
void install_device_graphs(MakeDeviceGraph make);
MakeDeviceGraph installed_device_graphs();
// Those of this build, or null.
MakeDeviceGraph built_device_graphs();

}  // namespace continuo
