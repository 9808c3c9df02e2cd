#include "comm/meeting.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fmt/ranges.h>
#include <netdb.h>
#include <sys/socket.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "core/error.h"
#include "core/files.h"

namespace continuo {

namespace {

constexpr const char* kReason = "stopped";
// Ranks notice the end of another within milliseconds; a machine under load may take longer.
constexpr std::chrono::milliseconds kPatience{2000}, kPause{20};

// Left by a rank that has noticed that the run is over; by one that knows why.
std::string here_key(int64_t rank) { return fmt::format("stopping/{}", rank); }
std::string read_key(int64_t rank) { return fmt::format("stopped/{}", rank); }

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

template <class Done>
bool poll(Done done) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    if (done()) return true;
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

Meeting::Meeting(const RankPlacement& placement, std::chrono::seconds timeout)
    : placement_(placement) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(placement.port);
  options.isServer = holds_store();
  options.numWorkers = static_cast<size_t>(placement.size);
  options.waitWorkers = false;
  options.timeout = timeout;
  if (placement.store_socket >= 0) options.masterListenFd = placement.store_socket;
  try {
    auto tcp = c10::make_intrusive<c10d::TCPStore>(placement.host, options);
    store_ = c10::make_intrusive<c10d::PrefixStore>("continuo/" + placement.attempt, tcp);
  } catch (const std::exception& error) {
    throw Error(fmt::format("rank {} of {} ({}) cannot meet the others at {}:{}: {}",
                            placement.rank, placement.size, launcher_name(placement.launcher),
                            placement.host, placement.port, first_line(error.what())),
                "MASTER_ADDR and MASTER_PORT say where: the machine of rank 0, a free port.");
  }
}

bool Meeting::holds_store() const { return placement_.rank == 0 && !placement_.store_is_launchers; }

void Meeting::leave_reason(std::string_view reason) noexcept {
  try {
    const std::vector<uint8_t> bytes(reason.begin(), reason.end());
    store_->compareSet(kReason, {}, bytes);
    store_->set(here_key(placement_.rank), std::string("1"));
    store_->set(read_key(placement_.rank), std::string("1"));
  } catch (const std::exception&) {  // the store is gone, and with it those who could read it
  }
}

std::string Meeting::diagnose() noexcept {
  std::string reason;
  try {
    store_->set(here_key(placement_.rank), std::string("1"));
    std::vector<int64_t> silent;
    // A rank that fails for a reason of its own leaves it before it closes its connections; one
    // that was killed leaves nothing, and does not come here.
    poll([&] {
      silent = without(here_key);
      return silent.empty() || store_->check({kReason});
    });
    if (store_->check({kReason})) {
      reason = store_->get_to_str(kReason);
      silent.clear();  // they may be about to notice
    } else if (!silent.empty()) {
      const bool one = silent.size() == 1;
      reason = fmt::format("rank{} {} do{} not answer any more", one ? "" : "s",
                           fmt::join(silent, ", "), one ? "es" : "");
    }
    store_->set(read_key(placement_.rank), std::string("1"));
    wait_for_readers(silent);
  } catch (const std::exception&) {
    reason = placement_.store_is_launchers
                 ? "the launcher's store is gone"
                 : "rank 0, which holds the store where ranks meet, does not answer any more";
  }
  return reason;
}

std::vector<int64_t> Meeting::without(std::string (*key)(int64_t rank)) const {
  std::vector<int64_t> ranks;
  for (int64_t r = 0; r < placement_.size; ++r) {
    if (!store_->check({key(r)})) ranks.push_back(r);
  }
  return ranks;
}

void Meeting::wait_for_readers(const std::vector<int64_t>& gone) const noexcept {
  if (!holds_store()) return;
  try {
    poll([&] { return std::ranges::includes(gone, without(read_key)); });
  } catch (const std::exception&) {  // nobody can read any more
  }
}

std::string address_towards(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), "9", &hints, &found))
    fail("{}: {}", host, ::gai_strerror(code));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  for (const addrinfo* at = found; at; at = at->ai_next) {
    // Connecting a datagram socket sends nothing; it only chooses a route.
    const FileDescriptor fd(::socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, 0));
    if (fd.get() < 0 || ::connect(fd.get(), at->ai_addr, at->ai_addrlen) != 0) continue;
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    char text[NI_MAXHOST];
    if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &length) == 0 &&
        ::getnameinfo(reinterpret_cast<sockaddr*>(&own), length, text, sizeof text, nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      return text;
    }
  }
  fail("no route leads to {}", host);
}

}  // namespace continuo
