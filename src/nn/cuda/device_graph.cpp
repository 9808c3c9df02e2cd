#include "nn/cuda/device_graph.h"

#ifdef CONTINUO_CUDA_GRAPHS
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#endif

namespace continuo {

namespace {

MakeDeviceGraph g_make = nullptr;

}  // namespace

void install_device_graphs(MakeDeviceGraph make) { g_make = make; }

MakeDeviceGraph installed_device_graphs() { return g_make; }

#ifdef CONTINUO_CUDA_GRAPHS

namespace {

// `then` begins on its stream when what is on `first` by now is done.
void order(const at::cuda::CUDAStream& first, const at::cuda::CUDAStream& then) {
  at::cuda::CUDAEvent event;
  event.record(first);
  event.block(then);
}

class CudaGraph : public DeviceGraph {
 public:
  explicit CudaGraph(at::Device device) : device_(device) {}

  void record(const std::function<void()>& work) override {
    const c10::cuda::CUDAGuard guard(device_);
    const auto outer = at::cuda::getCurrentCUDAStream(device_.index());
    const auto stream = at::cuda::getStreamFromPool(/*isHighPriority=*/false, device_.index());
    order(outer, stream);
    {
      const c10::cuda::CUDAStreamGuard on(stream);
      work();
      graph_.capture_begin(pool(), cudaStreamCaptureModeThreadLocal);
      try {
        work();
      } catch (...) {
        graph_.capture_end();
        throw;
      }
      graph_.capture_end();
    }
    order(stream, outer);
  }
  void replay() override {
    const c10::cuda::CUDAGuard guard(device_);
    graph_.replay();
  }

 private:
  // One for all graphs: what they have in it lives no longer than their replay, and they follow
  // each other on one stream.
  static at::cuda::MempoolId_t pool() {
    static const at::cuda::MempoolId_t kPool = at::cuda::graph_pool_handle();
    return kPool;
  }

  at::Device device_;
  at::cuda::CUDAGraph graph_;
};

}  // namespace

MakeDeviceGraph built_device_graphs() {
  return [](at::Device device) -> std::unique_ptr<DeviceGraph> {
    return std::make_unique<CudaGraph>(device);
  };
}

#else

MakeDeviceGraph built_device_graphs() { return nullptr; }

#endif

}  // namespace continuo
