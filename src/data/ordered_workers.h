// Plain threads that work on a queue of items; results come back in the order of submission, so the
// outcome does not depend on how many threads there are. No ATen: these threads must not start a
// thread pool of their own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace continuo {

template <class In, class Out>
class OrderedWorkers {
 public:
  OrderedWorkers(int64_t threads, std::function<Out(In)> work) : work_(std::move(work)) {
    for (int64_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
  }

  // Waits for items in progress; those that wait in the queue are forgotten.
  ~OrderedWorkers() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  OrderedWorkers(const OrderedWorkers&) = delete;
  OrderedWorkers& operator=(const OrderedWorkers&) = delete;

  void submit(In item) {
    // std::packaged_task cannot hold a move-only argument list in a queue of one type; a closure
    // can.
    std::packaged_task<Out()> task(
        [this, held = std::move(item)]() mutable { return work_(std::move(held)); });
    results_.push_back(task.get_future());
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(task));
    }
    wake_.notify_one();
  }

  size_t pending() const { return results_.size(); }

  // The result of the oldest item not taken yet; throws what its work threw.
  Out take() {
    std::future<Out> result = std::move(results_.front());
    results_.pop_front();
    return result.get();
  }

 private:
  void run() {
    for (;;) {
      std::packaged_task<Out()> task;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
        if (stop_) return;
        task = std::move(queue_.front());
        queue_.pop_front();
      }
      task();
    }
  }

  std::function<Out(In)> work_;
  std::deque<std::future<Out>> results_;  // of the caller's thread alone
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::packaged_task<Out()>> queue_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace continuo
