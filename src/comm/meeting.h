// Where the ranks of a run meet: the key-value store in which they find each other's addresses, and
// in which a rank that stops leaves its reason. Only for files of this layer.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <torch/csrc/distributed/c10d/Store.hpp>

#include "comm/placement.h"

namespace continuo {

class Meeting {
 public:
  // Error: the first rank's store cannot be reached, or its port is taken.
  Meeting(const RankPlacement& placement, std::chrono::seconds timeout);

  const c10::intrusive_ptr<c10d::Store>& store() const { return store_; }

  // Leaves this rank's reason, unless another rank was first.
  void leave_reason(std::string_view reason) noexcept;
  // Why the run is over, once a collective failed: the reason that a rank left; or which ranks do
  // not answer any more. The store lives until the others know as well.
  std::string diagnose() noexcept;
  // On the rank that holds the store: keeps it until the others have read why the run is over, but
  // for those that are `gone`, for a second or two.
  void wait_for_readers(const std::vector<int64_t>& gone = {}) const noexcept;

 private:
  bool holds_store() const;
  // Those that have not left the key that `key` names for them.
  std::vector<int64_t> without(std::string (*key)(int64_t rank)) const;

  RankPlacement placement_;
  c10::intrusive_ptr<c10d::Store> store_;
};

// The address of this machine on the way to `host`: what other machines can reach it by.
std::string address_towards(const std::string& host);

}  // namespace continuo
