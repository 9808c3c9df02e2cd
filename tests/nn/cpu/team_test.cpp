// The team of threads behind the engine: every unit once, stages one after the other.
#include "nn/cpu/team.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <time.h>

#include "support/threads.h"

namespace continuo {
namespace {

TEST(Team, HasAMemberOnEveryThread) {
  // at::parallel_for is a plain loop where this file was compiled without OpenMP: everything would
  // run on one thread.
  const test::Threads two(2);
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::set<int64_t> ranks;
  Team::run([&](const Team::Member& member) {
    const std::lock_guard lock(mutex);
    EXPECT_EQ(member.size, 2);
    threads.insert(std::this_thread::get_id());
    ranks.insert(member.rank);
  });
  EXPECT_EQ(threads.size(), 2u);
  EXPECT_EQ(ranks, (std::set<int64_t>{0, 1}));
}

TEST(Team, IsOneMemberInsideAnotherParallelRegion) {
  const test::Threads two(2);
  std::atomic<int> members{0};
  at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t end) {
    for (; begin < end; ++begin) {
      Team::run([&](const Team::Member& member) {
        EXPECT_EQ(member.size, 1);
        member.wait();
        ++members;
      });
    }
  });
  EXPECT_EQ(members.load(), 2);
}

double thread_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TEST(Team, SleepsWhileAMemberIsLate) {
  // Whoever spins takes the core that the late member may be waiting for.
  const test::Threads two(2);
  double waiting = 0;
  Team::run([&](const Team::Member& member) {
    for (int i = 0; i < 5; ++i) {
      if (member.rank == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
      const double start = thread_cpu_seconds();
      member.wait();
      if (member.rank == 1) waiting += thread_cpu_seconds() - start;
    }
  });
  EXPECT_GT(waiting, 0);
  EXPECT_LT(waiting, 0.25) << "of half a second";
}

class TeamTest : public testing::TestWithParam<int> {
  const test::Threads threads_{GetParam()};
};

TEST_P(TeamTest, DealsEveryUnitOnceInEveryStage) {
  constexpr int64_t kStages = 200;
  std::vector<std::vector<std::atomic<int>>> calls;
  for (int64_t s = 0; s < kStages; ++s) calls.emplace_back(s % 37);
  std::vector<std::byte> memory(1 << 16);
  Team::run([&](const Team::Member& member) {
    for (int64_t s = 0; s < kStages; ++s) {
      member.deal(s % 37, [&](int64_t begin, int64_t end) {
        EXPECT_LT(begin, end);
        for (int64_t i = begin; i < end; ++i) calls[s][i].fetch_add(1);
      });
      member.wait({memory.data(), std::ssize(memory)});
      for (const auto& count : calls[s])
        EXPECT_EQ(count.load(), 1) << "a member went on before the stage had ended";
    }
  });
}

TEST_P(TeamTest, SharesCoverAllUnits) {
  std::vector<std::atomic<int>> calls(100);
  Team::run([&](const Team::Member& member) {
    for (int64_t i = member.begin(100); i < member.end(100); ++i) calls[i].fetch_add(1);
  });
  for (const auto& count : calls) EXPECT_EQ(count.load(), 1);
}

INSTANTIATE_TEST_SUITE_P(Threads, TeamTest, testing::Values(1, 2, 3, 5));

}  // namespace
}  // namespace continuo
