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
