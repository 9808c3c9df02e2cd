#include "comm/communicator.h"

#include <numeric>
#include <thread>

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include "core/process.h"
#include "support/expect_error.h"
#include "support/ranks.h"

namespace continuo {
namespace {

using test::RankEnd;
using test::run_ranks;

void check(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

void expect_success(const std::vector<RankEnd>& ends) {
  for (size_t r = 0; r < ends.size(); ++r)
    EXPECT_EQ(ends[r].code, 0) << "rank " << r << ": " << ends[r].error;
}

class RanksTest : public testing::TestWithParam<int64_t> {};

TEST_P(RanksTest, SumsAndGathersInTheOrderOfRanks) {
  const int64_t size = GetParam();
  expect_success(run_ranks(size, [&](Communicator& ranks) {
    const auto rank = static_cast<double>(ranks.rank());
    // Values whose sum depends on the order in which they are added.
    const at::Tensor whole = at::arange(size * 40, at::kFloat).mul_(0.1).add_(rank * 1e7);
    const at::Tensor part = at::empty({40}, at::kFloat);
    Pending first = ranks.reduce_scatter(part, whole, "one sum");
    at::Tensor expected = at::arange(size * 40, at::kFloat).mul_(0.1);
    for (int64_t r = 1; r < size; ++r) {
      expected = expected.add(
          at::arange(size * 40, at::kFloat).mul_(0.1).add_(static_cast<double>(r) * 1e7));
    }
    first.wait();
    check(part.equal(expected.narrow(0, ranks.rank() * 40, 40)), "reduce_scatter");

    // Into its own place, several at once.
    std::vector<at::Tensor> wholes;
    std::vector<Pending> pending;
    for (int i = 0; i < 5; ++i) {
      wholes.push_back(at::full({size * 7}, -1, at::kDouble));
      const at::Tensor own = wholes.back().narrow(0, ranks.rank() * 7, 7).fill_(rank + i);
      pending.push_back(ranks.all_gather(wholes.back(), own, "the pieces"));
    }
    for (Pending& p : pending) p.wait();
    for (int i = 0; i < 5; ++i) {
      for (int64_t r = 0; r < size; ++r)
        check(wholes[static_cast<size_t>(i)]
                  .narrow(0, r * 7, 7)
                  .eq(static_cast<double>(r + i))
                  .all()
                  .item<bool>(),
              "all_gather");
    }
  }));
}

TEST_P(RanksTest, AgreeOnWhatTheHostDecides) {
  const int64_t size = GetParam();
  expect_success(run_ranks(size, [&](Communicator& ranks) {
    const std::vector<double> mine = {0.1 * static_cast<double>(ranks.rank()), 1e300};
    const std::vector<double> all = ranks.gather(mine, "numbers");
    check(std::ssize(all) == 2 * size && all[2] == 0.1 && all[3] == 1e300, "gather");
    check(ranks.any(ranks.rank() == size - 1, "a wish"), "any: one");
    check(!ranks.any(false, "a wish"), "any: none");
    const std::string text(static_cast<size_t>(ranks.rank()) * 3, 'x');
    const auto texts = ranks.gather_text(text, "texts");
    for (int64_t r = 0; r < size; ++r)
      check(std::ssize(texts[static_cast<size_t>(r)]) == 3 * r, "gather_text");
    check(ranks.broadcast(ranks.is_first() ? "hello" : "other", "a word") == "hello", "broadcast");
    check(ranks.broadcast("", "nothing").empty(), "broadcast of nothing");
  }));
}
INSTANTIATE_TEST_SUITE_P(Sizes, RanksTest, testing::Values(2, 3));

TEST(Communicator, AProcessAloneHasEverythingAlready) {
  const auto solo = solo_communicator();
  const at::Tensor whole = at::arange(4, at::kFloat), part = at::empty({4}, at::kFloat);
  solo->reduce_scatter(part, whole, "").wait();
  EXPECT_TRUE(part.equal(whole));
  EXPECT_TRUE(solo->any(true, ""));
  EXPECT_FALSE(solo->any(false, ""));
  EXPECT_EQ(solo->broadcast("x", ""), "x");
}

void expect_part(const RankEnd& end, std::initializer_list<std::string> parts) {
  EXPECT_EQ(end.code, 1);
  for (const std::string& part : parts)
    EXPECT_NE(end.error.find(part), std::string::npos) << part << " is not in: " << end.error;
}

TEST(Communicator, ARankThatIsKilledIsNamed) {
  for (const int64_t victim : {1, 0}) {
    const double start = seconds_now();
    const auto ends = run_ranks(3, [&](Communicator& ranks) {
      ranks.barrier("the start");
      ranks.enter("step 7");
      if (ranks.rank() == victim) kill(getpid(), SIGKILL);
      ranks.barrier("the gradients");
    });
    EXPECT_LT(seconds_now() - start, 20);
    ASSERT_EQ(ends.size(), 3u);
    for (int64_t r = 0; r < 3; ++r) {
      const RankEnd& end = ends[static_cast<size_t>(r)];
      if (r == victim) {
        EXPECT_EQ(end.code, -SIGKILL);
      } else {
        expect_part(end, {"rank " + std::to_string(r) + " of 3", "step 7", "the gradients",
                          "rank " + std::to_string(victim), "not answer"});
      }
    }
  }
}

// Gloo alone would wait for the rest of a message that was cut until its timeout.
TEST(Communicator, ARankThatIsKilledWhileItSendsIsNamed) {
  const double start = seconds_now();
  const auto ends = run_ranks(2, [](Communicator& ranks) {
    const at::Tensor whole = at::full({2, int64_t{64} << 20}, 1, at::kFloat);
    const at::Tensor part = whole[ranks.rank()];
    ranks.barrier("each other");
    if (ranks.rank() == 1) {
      std::thread([] {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        kill(getpid(), SIGKILL);
      }).detach();
    }
    ranks.all_gather(whole, part, "the pieces").wait();
  });
  EXPECT_LT(seconds_now() - start, 20);
  EXPECT_EQ(ends[1].code, -SIGKILL);
  EXPECT_EQ(ends[0].code, 1);
  EXPECT_NE(ends[0].error.find("rank 1 does not answer any more"), std::string::npos)
      << ends[0].error;
}

TEST(Communicator, AReasonReachesTheOthers) {
  for (const int64_t victim : {1, 0}) {
    const auto ends = run_ranks(3, [&](Communicator& ranks) {
      ranks.barrier("the start");
      if (ranks.rank() == victim) {
        ranks.stop("the disk is full\nfree some space");
        throw std::runtime_error("the disk is full");
      }
      ranks.barrier("a checkpoint");
    });
    for (int64_t r = 0; r < 3; ++r) {
      if (r != victim)
        expect_part(
            ends[static_cast<size_t>(r)],
            {"a checkpoint", "rank " + std::to_string(victim) + " stopped: the disk is full"});
    }
  }
}

TEST(Communicator, ARankThatDoesNotComeIsNotWaitedForLonger) {
  const double start = seconds_now();
  const auto ends = run_ranks(
      2,
      [&](Communicator& ranks) {
        ranks.barrier("the start");
        if (ranks.rank() == 1) {
          sleep(8);
          return;
        }
        try {
          ranks.barrier("the end");
        } catch (const RankError&) {
          if (seconds_now() - start < 7.5) _exit(9);
        }
      },
      std::chrono::seconds(3));
  EXPECT_EQ(ends[0].code, 9);
}

TEST(Communicator, AMeetingPlaceThatNobodyHoldsIsNamed) {
  test::expect_error(
      [] {
        open_communicator({.launcher = Launcher::kSlurm, .rank = 1, .size = 2, .port = 9},
                          std::chrono::seconds(2));
      },
      {"rank 1 of 2", "Slurm", "127.0.0.1:9", "MASTER_ADDR"});
}

}  // namespace
}  // namespace continuo
