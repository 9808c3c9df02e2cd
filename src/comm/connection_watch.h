// Waiting for messages whose connection may break. Gloo fails whoever waits for a message on a
// broken connection, unless the break cut that very message: it has forgotten that one, and its
// wait would last for the whole timeout.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

namespace continuo {

class ConnectionWatch {
 public:
  using Work = c10::intrusive_ptr<c10d::Work>;

  explicit ConnectionWatch(c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo);
  ~ConnectionWatch();
  ConnectionWatch(const ConnectionWatch&) = delete;
  ConnectionWatch& operator=(const ConnectionWatch&) = delete;

  // Until all are done; one call at a time. Throws what Gloo throws, or std::runtime_error: a
  // connection broke.
  void wait(const std::vector<Work>& works);
  // Until work of a device is done there, for whose wait() only the device waits. Throws what the
  // work ended with, or std::runtime_error: a connection of the host's broke, or `timeout` is over.
  void wait_on_host(const Work& work, std::chrono::seconds timeout) const;

 private:
  using Clock = std::chrono::steady_clock;
  void look_after(const std::vector<Work>* works);
  void run();
  bool broken() const;

  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
  std::mutex mutex_;
  std::condition_variable ended_;
  const std::vector<Work>* waited_for_ = nullptr;
  Clock::time_point since_;
  bool end_ = false;
  std::thread thread_;
};

}  // namespace continuo
