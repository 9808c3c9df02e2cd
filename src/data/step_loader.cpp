#include "data/step_loader.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "core/error.h"

namespace continuo {
namespace {

TrainingStep prepare(ExampleStream& stream, int64_t rank) {
  const StepRows rows = stream.next();
  TrainingStep step;
  step.epoch = rows.epoch;
  for (size_t i = 0; i < rows.micro_batches.size(); ++i) {
    if (rows.ranks[i] == rank) {
      step.add(make_batch(stream.store(), rows.micro_batches[i]));
    } else {
      step.count(count_batch(stream.store(), rows.micro_batches[i]));
    }
  }
  step.after = stream.cursor();
  return step;
}

}  // namespace

struct StepLoader::State {
  State(ExampleStream s, const LoaderOptions& options)
      : stream(std::move(s)),
        epoch_size(stream.epoch_size()),
        rank(options.rank),
        depth(static_cast<size_t>(options.depth)) {}

  void run() {
    for (;;) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] { return stop || ready.size() < depth; });
        if (stop) return;
      }
      try {
        TrainingStep step = prepare(stream, rank);
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
  const int64_t epoch_size, rank;
  const size_t depth;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<TrainingStep> ready;
  std::exception_ptr error;
  bool stop = false;
  std::thread thread;  // last: it uses everything above
};

StepLoader::StepLoader(ExampleStream stream, LoaderOptions options) {
  if (options.depth < 1) fail("the loader's depth is {}, it must be at least 1", options.depth);
  state_ = std::make_unique<State>(std::move(stream), options);
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
