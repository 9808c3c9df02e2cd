#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "comm/communicator.h"
#include "comm/connection_watch.h"
#include "comm/direct_exchange.h"
#include "comm/meeting.h"
#include "comm/ordered_sum.h"

namespace continuo {

namespace {

using Work = ConnectionWatch::Work;

at::Tensor host_memory_for(const at::Tensor& tensor) {
  return at::empty(tensor.sizes(), tensor.options().device(at::kCPU));
}

class GlooCommunicator : public Communicator {
 public:
  GlooCommunicator(const RankPlacement& placement, std::chrono::seconds timeout)
      : placement_(placement), timeout_(timeout), meeting_(placement, timeout) {
    guarded("the others to join", [&] {
      gloo_ = connect();
      watch_.emplace(gloo_);
    });
  }

  int64_t rank() const override { return placement_.rank; }
  int64_t size() const override { return placement_.size; }
  void enter(std::string stage) override { stage_ = std::move(stage); }

  Pending reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                         std::string_view what) override;
  Pending all_gather(const at::Tensor& whole, const at::Tensor& part,
                     std::string_view what) override;
  bool connect_gpus(at::Device own) override;
  std::vector<double> gather(std::span<const double> mine, std::string_view what) override;
  std::vector<std::string> gather_text(std::string_view mine, std::string_view what) override;
  void stop(std::string_view reason) noexcept override {
    meeting_.leave_reason(fmt::format("rank {} stopped: {}", rank(), reason));
    // The others notice by their broken connections, and find the reason while the store is there.
    direct_.reset();
    watch_.reset();
    gloo_.reset();
    meeting_.wait_for_readers();
  }

 private:
  c10::intrusive_ptr<c10d::ProcessGroupGloo> connect();
  // Runs what may throw c10d's or Gloo's exceptions; the latter are plain std::exceptions.
  template <class Function>
  void guarded(std::string_view what, Function function);
  // What `start` gives, whose end is guarded as its beginning is.
  template <class Start>
  Pending guarded_exchange(std::string_view what, Start start);
  // One piece to and from every other rank.
  std::vector<Work> exchange(const std::vector<at::Tensor>& to, std::vector<at::Tensor> from);
  std::vector<at::Tensor> pieces(const at::Tensor& whole) const {
    return whole.view({size(), -1}).unbind();
  }

  RankPlacement placement_;
  std::chrono::seconds timeout_;
  Meeting meeting_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
  std::optional<ConnectionWatch> watch_;
  std::optional<DirectExchange> direct_;
  std::string stage_ = "starting";
  int tag_ = 0;  // of messages between two ranks: the same number on both, for calls are in order
};

c10::intrusive_ptr<c10d::ProcessGroupGloo> GlooCommunicator::connect() {
  const auto options = c10d::ProcessGroupGloo::Options::create(timeout_);
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  // Gloo's own default is the address of the host's name, which Debian maps to the loopback device.
  options->devices.push_back(interface ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                       : c10d::ProcessGroupGloo::createDeviceForHostname(
                                             address_towards(placement_.host)));
  return c10::make_intrusive<c10d::ProcessGroupGloo>(meeting_.store(), static_cast<int>(rank()),
                                                     static_cast<int>(size()), options);
}

template <class Function>
void GlooCommunicator::guarded(std::string_view what, Function function) {
  try {
    function();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    const std::string found = meeting_.diagnose();
    const std::string_view why = found.empty() ? std::string_view(error.what()) : found;
    throw RankError(fmt::format("rank {} of {}, {}: waiting for {} failed: {}", rank(), size(),
                                stage_, what, why.substr(0, why.find('\n'))));
  }
}

template <class Start>
Pending GlooCommunicator::guarded_exchange(std::string_view what, Start start) {
  Pending pending;
  guarded(what, [&] { pending = start(); });
  return Pending([this, pending, what = std::string(what)]() mutable {
    guarded(what, [&] { pending.wait(); });
  });
}

bool GlooCommunicator::connect_gpus(at::Device own) {
  const std::vector<std::string> gpus = gather_text(gpu_name(own), "the others' GPUs");
  const std::set<std::string> distinct(gpus.begin(), gpus.end());
  if (distinct.size() < gpus.size() || distinct.contains("")) return false;
  guarded("the others' GPUs", [&] {
    direct_.emplace(open_nccl(meeting_.store(), static_cast<int>(rank()), static_cast<int>(size()),
                              own, timeout_),
                    *watch_, timeout_);
  });
  return true;
}

std::vector<Work> GlooCommunicator::exchange(const std::vector<at::Tensor>& to,
                                             std::vector<at::Tensor> from) {
  std::vector<Work> works;
  const int tag = tag_++;
  for (int64_t i = 1; i < size(); ++i) {
    const auto peer = static_cast<size_t>((rank() + i) % size());
    std::vector<at::Tensor> received = {from[peer]}, sent = {to[peer]};
    works.push_back(gloo_->recv(received, static_cast<int>(peer), tag));
    works.push_back(gloo_->send(sent, static_cast<int>(peer), tag));
  }
  return works;
}

// Directly between all pairs: as many bytes as a ring, and the sum is our own to order. Gloo's
// reduce-scatter copies the whole and reduces all of it.
Pending GlooCommunicator::reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                                         std::string_view what) {
  if (direct_ && whole.is_cuda())
    return guarded_exchange(what, [&] { return direct_->reduce_scatter(part, whole); });
  if (!whole.is_cpu()) {
    const at::Tensor leaving = whole.to(at::kCPU), sum = host_memory_for(part);
    Pending arriving = reduce_scatter(sum, leaving, what);
    return Pending([leaving, sum, part, arriving]() mutable {
      arriving.wait();
      part.copy_(sum);
    });
  }
  const std::vector<at::Tensor> mine = pieces(whole);
  std::vector<at::Tensor> theirs;
  for (int64_t r = 0; r < size(); ++r)
    theirs.push_back(r == rank() ? mine[static_cast<size_t>(r)] : at::empty_like(part));
  std::vector<Work> works;
  guarded(what, [&] { works = exchange(mine, theirs); });
  return Pending([this, part, theirs, works, what = std::string(what)] {
    guarded(what, [&] { watch_->wait(works); });
    ordered_sum(part, theirs);
  });
}

Pending GlooCommunicator::all_gather(const at::Tensor& whole, const at::Tensor& part,
                                     std::string_view what) {
  if (direct_ && whole.is_cuda())
    return guarded_exchange(what, [&] { return direct_->all_gather(whole, part); });
  if (!whole.is_cpu()) {
    const at::Tensor arrived = host_memory_for(whole);
    Pending arriving = all_gather(arrived, part.to(at::kCPU), what);
    return Pending([arrived, whole, arriving]() mutable {
      arriving.wait();
      whole.copy_(arrived);
    });
  }
  const std::vector<at::Tensor> places = pieces(whole);
  const at::Tensor& own = places[static_cast<size_t>(rank())];
  if (own.const_data_ptr() != part.const_data_ptr()) own.copy_(part);
  std::vector<Work> works;
  guarded(what, [&] { works = exchange(std::vector<at::Tensor>(places.size(), own), places); });
  return Pending([this, works, places, what = std::string(what)] {
    guarded(what, [&] { watch_->wait(works); });
  });
}

std::vector<double> GlooCommunicator::gather(std::span<const double> mine, std::string_view what) {
  const auto count = static_cast<int64_t>(mine.size());
  const at::Tensor all = at::empty({size() * count}, at::kDouble);
  const at::Tensor own = at::empty({count}, at::kDouble);
  std::copy(mine.begin(), mine.end(), own.mutable_data_ptr<double>());
  all_gather(all, own, what).wait();
  const double* values = all.const_data_ptr<double>();
  return {values, values + all.numel()};
}

std::vector<std::string> GlooCommunicator::gather_text(std::string_view mine,
                                                       std::string_view what) {
  const auto length = static_cast<double>(mine.size());
  const std::vector<double> lengths = gather({&length, 1}, what);
  const auto longest = static_cast<int64_t>(*std::ranges::max_element(lengths));
  std::vector<std::string> texts(static_cast<size_t>(size()));
  if (longest == 0) return texts;
  const at::Tensor all = at::empty({size() * longest}, at::kByte);
  const at::Tensor own = at::zeros({longest}, at::kByte);
  std::memcpy(own.mutable_data_ptr(), mine.data(), mine.size());
  all_gather(all, own, what).wait();
  const char* bytes = static_cast<const char*>(all.const_data_ptr());
  for (size_t r = 0; r < texts.size(); ++r)
    texts[r].assign(bytes + static_cast<int64_t>(r) * longest, static_cast<size_t>(lengths[r]));
  return texts;
}

}  // namespace

namespace {

// c10d reports every broken connection with a trace of C++ frames; what is wrong our errors say.
void quiet_c10d() {
  if (!std::getenv("TORCH_CPP_LOG_LEVEL")) FLAGS_caffe2_log_level = c10::GLOG_FATAL;
}

}  // namespace

std::unique_ptr<Communicator> open_communicator(const RankPlacement& placement,
                                                std::chrono::seconds timeout) {
  if (placement.alone()) return solo_communicator();
  quiet_c10d();
  // Writing to a rank that is gone is to be an error, not the end of this one.
  std::signal(SIGPIPE, SIG_IGN);
  return std::make_unique<GlooCommunicator>(placement, timeout);
}

}  // namespace continuo
