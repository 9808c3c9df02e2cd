#include "data/ordered_workers.h"

#include <atomic>
#include <chrono>
#include <latch>
#include <thread>

#include <gtest/gtest.h>

#include "support/data_fixture.h"

namespace continuo {
namespace {

TEST(OrderedWorkers, ResultsInTheOrderOfSubmission) {
  for (const int64_t threads : {1, 2, 7}) {
    OrderedWorkers<int, int> workers(threads, [](int x) {
      std::this_thread::sleep_for(std::chrono::microseconds((x * 37) % 200));
      return x * x;
    });
    for (int i = 0; i < 100; ++i) workers.submit(i);
    EXPECT_EQ(workers.pending(), 100U);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(workers.take(), i * i);
    EXPECT_EQ(workers.pending(), 0U);
  }
}

TEST(OrderedWorkers, AFaultArrivesInItsPlace) {
  OrderedWorkers<int, int> workers(3, [](int x) {
    if (x == 2) fail("item {}", x);
    return x;
  });
  for (int i = 0; i < 5; ++i) workers.submit(i);
  EXPECT_EQ(workers.take(), 0);
  EXPECT_EQ(workers.take(), 1);
  EXPECT_EQ(test::error_of([&] { workers.take(); }), "item 2");
  EXPECT_EQ(workers.take(), 3);
}

TEST(OrderedWorkers, LeavingEarlyDropsWhatHasNotBegun) {
  constexpr int kSubmitted = 1000, kThreads = 2;
  std::atomic<int> begun = 0, ended = 0;
  std::latch first(kThreads);
  {
    OrderedWorkers<int, int> workers(kThreads, [&](int x) {
      ++begun;
      if (x < kThreads) first.arrive_and_wait();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));  // all: 5 s
      ++ended;
      return x;
    });
    for (int i = 0; i < kSubmitted; ++i) workers.submit(i);
    first.wait();
  }
  EXPECT_GE(begun, kThreads);
  EXPECT_LT(begun, kSubmitted);
  EXPECT_EQ(begun, ended) << "a worker outlived its owner";
}

}  // namespace
}  // namespace continuo
