#include "data/step_loader.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "core/error.h"

namespace continuo {
namespace {

TrainingStep prepare(ExampleStream& stream) {
  const StepRows rows = stream.next();
  TrainingStep step;
  step.epoch = rows.epoch;
  for (const std::vector<int64_t>& micro_batch : rows.micro_batches) {
    step.add(make_batch(stream.store(), micro_batch));
  }
  step.after = stream.cursor();
  return step;
}

}  // namespace

struct StepLoader::State {
  State(ExampleStream s, size_t d)
      : stream(std::move(s)), epoch_size(stream.epoch_size()), depth(d) {}

  void run() {
    for (;;) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] { return stop || ready.size() < depth; });
        if (stop) return;
      }
      try {
        TrainingStep step = prepare(stream);
        std::lock_guard lock(mutex);
        ready.push_back(std::move(step));
      } catch (...) {
        std::lock_guard lock(mutex);
        error = std::current_exception();
        stop = true;
      }
      changed.notify_all();
    }
  }

  ExampleStream stream;  // of the thread alone
  const int64_t epoch_size;
  const size_t depth;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<TrainingStep> ready;
  std::exception_ptr error;
  bool stop = false;
  std::thread thread;  // last: it uses everything above
};

StepLoader::StepLoader(ExampleStream stream, int64_t depth) {
  if (depth < 1) fail("the loader's depth is {}, it must be at least 1", depth);
  state_ = std::make_unique<State>(std::move(stream), static_cast<size_t>(depth));
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

StepLoader::~StepLoader() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_all();
  state_->thread.join();
}

TrainingStep StepLoader::next() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return !state_->ready.empty() || state_->error; });
  if (state_->ready.empty()) std::rethrow_exception(state_->error);
  TrainingStep step = std::move(state_->ready.front());
  state_->ready.pop_front();
  lock.unlock();
  state_->changed.notify_all();
  return step;
}

int64_t StepLoader::epoch_size() const { return state_->epoch_size; }

}  // namespace continuo
