// A parallel region whose threads go through many short stages together: between two stages they spin at a barrier, which
// costs a fraction of a microsecond, instead of leaving the region and waking up again.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>

#include <ATen/Parallel.h>

namespace continuo {

class Team {
 public:
  struct Member {
    Team& team;
    int64_t rank, size;

    void wait() const { team.wait(size); }
    // The share of `count` units that is this member's: [begin(count), end(count)).
    int64_t begin(int64_t count) const { return count * rank / size; }
    int64_t end(int64_t count) const { return count * (rank + 1) / size; }
    // Calls f(begin, end) for runs of `count` units until all members together have had them all: who is faster takes more.
    // Once between two waits.
    template <class F>
    void deal(int64_t count, const F& f) const {
      const int64_t run = std::max<int64_t>(1, count / (16 * size));
      for (int64_t begin; (begin = team.dealt_.fetch_add(run, std::memory_order_relaxed)) < count;) {
        f(begin, std::min(count, begin + run));
      }
    }
  };

  // Calls f(member) once on each of LibTorch's threads; where those are taken, on this one alone. f does not throw.
  template <class F>
  static void run(const F& f) {
    Team team;
    const int64_t units = at::get_num_threads();
    std::atomic<int64_t> members{0}, arrived{0};
    at::parallel_for(0, units, 1, [&](int64_t begin, int64_t end) {
      const int64_t rank = members.fetch_add(1);
      arrived.fetch_add(end - begin);
      spin([&] { return arrived.load() == units; });
      f(Member{team, rank, members.load()});
    });
  }

 private:
  template <class F>
  static void spin(const F& done) {
    constexpr int kPatience = 20000;  // a member that was taken off its core needs the others to step aside
    for (int i = 0; !done(); ++i) {
      if (i > kPatience) std::this_thread::yield();
    }
  }

  void wait(int64_t size) {
    const uint64_t generation = generation_.load(std::memory_order_acquire);
    if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      waiting_.store(0, std::memory_order_relaxed);
      dealt_.store(0, std::memory_order_relaxed);
      generation_.store(generation + 1, std::memory_order_release);
      return;
    }
    spin([&] { return generation_.load(std::memory_order_acquire) != generation; });
  }

  alignas(64) std::atomic<int64_t> waiting_{0};
  alignas(64) std::atomic<uint64_t> generation_{0};
  alignas(64) std::atomic<int64_t> dealt_{0};
};

}  // namespace continuo
