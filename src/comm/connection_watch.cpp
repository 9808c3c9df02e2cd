#include "comm/connection_watch.h"

#include <limits>
#include <stdexcept>

#include <ATen/ops/empty.h>
#include <fmt/format.h>

namespace continuo {

namespace {

// After so long, and then as often, a wait looks whether the connections still stand.
constexpr std::chrono::seconds kLookEvery{1};
// Between two questions whether a device is done.
constexpr std::chrono::microseconds kAskAgain{20};
constexpr int kProbe = std::numeric_limits<int>::max();  // a tag that no message has

}  // namespace

ConnectionWatch::ConnectionWatch(c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo)
    : gloo_(std::move(gloo)), thread_([this] { run(); }) {}

ConnectionWatch::~ConnectionWatch() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  ended_.notify_all();
  thread_.join();
}

void ConnectionWatch::look_after(const std::vector<Work>* works) {
  const std::lock_guard lock(mutex_);
  waited_for_ = works;
  since_ = Clock::now();
}

void ConnectionWatch::wait(const std::vector<Work>& works) {
  const struct Look {
    ConnectionWatch& watch;
    Look(ConnectionWatch& w, const std::vector<Work>& works) : watch(w) {
      watch.look_after(&works);
    }
    ~Look() { watch.look_after(nullptr); }
  } look(*this, works);
  for (const Work& work : works) {
    if (!work->wait()) throw std::runtime_error("a connection broke");
  }
}

void ConnectionWatch::wait_on_host(const Work& work, std::chrono::seconds timeout) const {
  const Clock::time_point start = Clock::now();
  Clock::time_point looked = start;
  while (!work->isCompleted()) {
    const Clock::time_point now = Clock::now();
    if (now - start > timeout)
      throw std::runtime_error(fmt::format("nothing came for {} s", timeout.count()));
    if (now - looked > kLookEvery) {
      if (broken()) throw std::runtime_error("a connection broke");
      looked = now;
    }
    std::this_thread::sleep_for(kAskAgain);
  }
  if (const std::exception_ptr error = work->exception()) std::rethrow_exception(error);
  work->wait();  // the stream of what comes next as well
}

// A connection that is broken refuses new messages at once; one that nobody will ever send is
// waited for by nobody.
bool ConnectionWatch::broken() const {
  for (int peer = 0; peer < gloo_->getSize(); ++peer) {
    if (peer == gloo_->getRank()) continue;
    std::vector<at::Tensor> nothing = {at::empty({1}, at::kByte)};
    try {
      gloo_->recv(nothing, peer, kProbe);
    } catch (const std::exception&) {
      return true;
    }
  }
  return false;
}

void ConnectionWatch::run() {
  std::unique_lock lock(mutex_);
  while (!ended_.wait_for(lock, kLookEvery, [this] { return end_; })) {
    if (!waited_for_ || Clock::now() - since_ < kLookEvery || !broken()) continue;
    for (const Work& work : *waited_for_) work->abort();
  }
}

}  // namespace continuo
