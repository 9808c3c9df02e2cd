// Tensors between GPUs themselves, without the host's memory between them, by a backend of c10d's.
// Only for files of this layer.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "comm/communicator.h"
#include "comm/connection_watch.h"

namespace continuo {

class DirectExchange {
 public:
  // `watch` notices ranks that are gone, and outlives it. `timeout`: of every wait.
  DirectExchange(c10::intrusive_ptr<c10d::Backend> backend, ConnectionWatch& watch,
                 std::chrono::seconds timeout);
  ~DirectExchange();
  DirectExchange(const DirectExchange&) = delete;
  DirectExchange& operator=(const DirectExchange&) = delete;

  // As Communicator's. The host waits until the exchange is over, for only then does it know that
  // all ranks came; sums are the device's own to make, behind it.
  Pending reduce_scatter(const at::Tensor& part, const at::Tensor& whole);
  Pending all_gather(const at::Tensor& whole, const at::Tensor& part);

 private:
  c10::intrusive_ptr<c10d::Backend> backend_;
  ConnectionWatch& watch_;
  std::chrono::seconds timeout_;
};

// What no two GPUs have in common, their machine and place in it; empty where this build has no
// NCCL.
std::string gpu_name(at::Device device);

// c10d's NCCL for the tensors of one GPU a rank. Call it only where gpu_name() is not empty.
c10::intrusive_ptr<c10d::Backend> open_nccl(const c10::intrusive_ptr<c10d::Store>& store, int rank,
                                            int size, at::Device device,
                                            std::chrono::seconds timeout);

}  // namespace continuo
