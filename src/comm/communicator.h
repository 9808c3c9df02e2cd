// Collective operations over the ranks of a run. Every rank makes the same calls in the same order;
// a rank that is gone, or does not come within the timeout, is an Error on all the others. Knows
// nothing of what is exchanged.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comm/placement.h"
#include "core/error.h"

namespace continuo {

// Another rank is gone, stopped or late; what this rank was doing is no cause of it.
class RankError : public Error {
  using Error::Error;
};

// An operation that goes on beside the caller. Its tensors must not be touched before wait().
class Pending {
 public:
  Pending() = default;
  explicit Pending(std::function<void()> finish) : finish_(std::move(finish)) {}
  // Until it is done; a second wait returns at once.
  void wait() {
    if (finish_) std::exchange(finish_, nullptr)();
  }

 private:
  std::function<void()> finish_;
};

// What all ranks find at once and throw together: one of them says it.
class CommonError : public Error {
  using Error::Error;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;
  bool is_first() const { return rank() == 0; }

  // What the ranks are at, for errors: "step 12".
  virtual void enter(std::string stage) = 0;

  // `what` completes "waiting for …" in an error. Tensors are contiguous; those of a GPU go by way
  // of the host's memory, and both calls wait until they have left the GPU, unless connect_gpus()
  // said that they need not.

  // whole [size·n] → part [n]: piece `rank()` of the sum over ranks, added in the order of ranks,
  // so that its bits depend on nothing but the values.
  virtual Pending reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                                 std::string_view what) = 0;
  // part [n] → whole [size·n], in the order of ranks. `part` may be its own place in `whole`.
  virtual Pending all_gather(const at::Tensor& whole, const at::Tensor& part,
                             std::string_view what) = 0;

  // Whether tensors of the ranks' devices go directly between them from now on (c10d's NCCL): where
  // this build can, and every rank has a GPU of its own. `own`: this rank's.
  virtual bool connect_gpus(at::Device own) = 0;

  // Of the host: what decisions are made of. Every rank gives as many values; → all of them, in the
  // order of ranks.
  virtual std::vector<double> gather(std::span<const double> mine, std::string_view what) = 0;
  virtual std::vector<std::string> gather_text(std::string_view mine, std::string_view what) = 0;
  // Of the first rank.
  std::string broadcast(std::string_view mine, std::string_view what) {
    return gather_text(is_first() ? mine : std::string_view(), what).front();
  }
  // What all of them name, one after the other: "a, b".
  std::string gather_names(std::string_view mine, std::string_view what);
  bool any(bool mine, std::string_view what);
  void barrier(std::string_view what) { any(false, what); }

  // Tells the others why this rank stops, for their errors, and leaves them. The first reason
  // stays.
  virtual void stop(std::string_view reason) noexcept = 0;
};

// Of a process alone: everything is there already.
std::unique_ptr<Communicator> solo_communicator();

// Over c10d's Gloo, by TCP. `timeout`: of every wait for another rank. Error: the ranks do not
// meet.
std::unique_ptr<Communicator> open_communicator(const RankPlacement& placement,
                                                std::chrono::seconds timeout);

}  // namespace continuo
