// LibTorch's NCCL, in builds that have the headers of both.
#include "comm/direct_exchange.h"
#include "core/error.h"

#ifdef USE_C10D_NCCL

#include <array>
#include <cstdlib>

#include <ATen/cuda/CUDAContextLight.h>
#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#include <unistd.h>

namespace continuo {

std::string gpu_name(at::Device device) {
  std::array<char, 256> host{};
  if (!device.is_cuda() || gethostname(host.data(), host.size() - 1) != 0) return {};
  const cudaDeviceProp& gpu = *at::cuda::getDeviceProperties(device.index());
  return fmt::format("{} {}:{}:{}", host.data(), gpu.pciDomainID, gpu.pciBusID, gpu.pciDeviceID);
}

c10::intrusive_ptr<c10d::Backend> open_nccl(const c10::intrusive_ptr<c10d::Store>& store, int rank,
                                            int size, at::Device device,
                                            std::chrono::seconds timeout) {
  // Whoever waits notices and says what is wrong; c10d's own watch would end the process.
  setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", /*overwrite=*/0);
  const auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(
      c10::make_intrusive<c10d::PrefixStore>("nccl", store), rank, size, options);
  nccl->setBoundDeviceId(device);
  return nccl;
}

}  // namespace continuo

#else

namespace continuo {

std::string gpu_name(at::Device) { return {}; }

c10::intrusive_ptr<c10d::Backend> open_nccl(const c10::intrusive_ptr<c10d::Store>&, int, int,
                                            at::Device, std::chrono::seconds) {
  fail("this build has no NCCL");
}

}  // namespace continuo

#endif
