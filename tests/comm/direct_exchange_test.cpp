// Exchanges by a backend of c10d's, between threads: Gloo's takes the calls that NCCL's takes.
#include "comm/direct_exchange.h"

#include <optional>
#include <thread>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

namespace continuo {
namespace {

using std::chrono::seconds;

c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo(const c10::intrusive_ptr<c10d::Store>& store,
                                                const char* name, int rank, int size) {
  const auto options = c10d::ProcessGroupGloo::Options::create(seconds(30));
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  return c10::make_intrusive<c10d::ProcessGroupGloo>(
      c10::make_intrusive<c10d::PrefixStore>(name, store), rank, size, options);
}

// Runs `body` as so many ranks, each in a thread; the errors that they ended with.
std::vector<std::string> run(
    int size, seconds timeout,
    const std::function<void(int rank, DirectExchange&, std::optional<ConnectionWatch>&)>& body) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::vector<std::string> errors(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        std::optional<ConnectionWatch> watch(std::in_place, gloo(store, "host", rank, size));
        DirectExchange exchange(gloo(store, "device", rank, size), *watch, timeout);
        body(rank, exchange, watch);
      } catch (const std::exception& error) {
        errors[static_cast<size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

TEST(DirectExchange, SumsAndGathersInTheOrderOfRanks) {
  constexpr int kSize = 3;
  const auto summand = [](int rank) {
    return at::arange(kSize * 40, at::kFloat).mul_(0.1).add_(rank * 1e7);
  };
  const auto errors = run(kSize, seconds(30), [&](int rank, DirectExchange& exchange, auto&) {
    const at::Tensor part = at::empty({40}, at::kFloat);
    Pending sum = exchange.reduce_scatter(part, summand(rank));
    const at::Tensor whole = at::full({kSize * 7}, -1, at::kDouble);
    Pending pieces = exchange.all_gather(whole, at::full({7}, rank, at::kDouble));
    sum.wait();
    pieces.wait();
    // Values whose sum depends on the order in which they are added.
    const at::Tensor all = summand(0).add(summand(1)).add(summand(2));
    EXPECT_TRUE(part.equal(all.narrow(0, rank * 40, 40))) << "rank " << rank;
    EXPECT_TRUE(whole.equal(at::arange(kSize, at::kDouble).repeat_interleave(7)));
  });
  for (const std::string& error : errors) EXPECT_EQ(error, "");
}

TEST(DirectExchange, ARankThatDoesNotComeIsNotWaitedForLongerThanTheTimeout) {
  const auto errors = run(2, seconds(1), [&](int rank, DirectExchange& exchange, auto&) {
    if (rank == 1) {
      std::this_thread::sleep_for(seconds(3));
      return;
    }
    const at::Tensor whole = at::full({2}, 1, at::kFloat);
    exchange.all_gather(whole, at::full({1}, 1, at::kFloat)).wait();
  });
  EXPECT_NE(errors[0].find("nothing came for 1 s"), std::string::npos) << errors[0];
}

TEST(DirectExchange, ARankThatIsGoneIsNoticedByTheHost) {
  const auto errors = run(2, seconds(30), [&](int rank, DirectExchange& exchange, auto& watch) {
    if (rank == 1) {
      watch.reset();
      std::this_thread::sleep_for(seconds(4));
      return;
    }
    const at::Tensor whole = at::full({2}, 1, at::kFloat);
    exchange.all_gather(whole, at::full({1}, 1, at::kFloat)).wait();
  });
  EXPECT_EQ(errors[0], "a connection broke");
}

TEST(DirectExchange, OnlyAGpuHasAName) { EXPECT_EQ(gpu_name(at::kCPU), ""); }

}  // namespace
}  // namespace continuo
