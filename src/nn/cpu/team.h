// A parallel region whose threads go through many short stages together: between two stages they
// spin at a barrier, which costs a fraction of a microsecond, instead of leaving the region and
// waking up again. Memory is kept busy meanwhile: who waits asks for the first lines of what it
// reads next.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <ATen/Parallel.h>

namespace continuo {

// Memory that a member is going to read: fetched into the second cache while it has nothing else to
// do.
struct Ahead {
  const std::byte* from = nullptr;
  int64_t bytes = 0;
};

class Team {
 public:
  struct Member {
    Team& team;
    int64_t rank, size;

    void wait(Ahead ahead = {}) const { team.wait(size, ahead); }
    // The share of `count` units that is this member's: [begin(count), end(count)).
    int64_t begin(int64_t count) const { return count * rank / size; }
    int64_t end(int64_t count) const { return count * (rank + 1) / size; }
    // Calls f(begin, end) for runs of `count` units until all members together have had them all. A
    // member reads its own share from the front, one long stream, and then helps the others from
    // the back of theirs. Once between two waits.
    template <class F>
    void deal(int64_t count, const F& f) const {
      team.shares_[rank].offer(begin(count), end(count));
      for (int64_t i = 0; i < size; ++i) {
        Share& share = team.shares_[(rank + i) % size];
        for (Run r = share.take(i == 0); r.begin < r.end; r = share.take(i == 0)) f(r.begin, r.end);
      }
    }
  };

  // Calls f(member) once on each of so many of LibTorch's threads; where those are taken, on this
  // one alone. f does not throw.
  template <class F>
  static void run(int64_t units, const F& f) {
    Team team(units);
    if (units == 1) return f(Member{team, 0, 1});
    std::atomic<int64_t> members{0}, arrived{0};
    at::parallel_for(0, units, 1, [&](int64_t begin, int64_t end) {
      const int64_t rank = members.fetch_add(1);
      arrived.fetch_add(end - begin);
      arrived.notify_all();
      wait_until(arrived, [&](int64_t all) { return all == units; }, {});
      f(Member{team, rank, members.load()});
    });
  }

  template <class F>
  static void run(const F& f) {
    run(at::get_num_threads(), f);
  }

 private:
  struct Run {
    int64_t begin, end;
  };

  // The units [begin, end) that nobody has taken yet, in one word. Empty between two waits' stages,
  // so that a member who comes before the owner finds nothing.
  class alignas(64) Share {
   public:
    void offer(int64_t begin, int64_t end) {
      range_.store(packed(begin, end), std::memory_order_release);
    }
    // A quarter of what is left: long runs first, single units when it ends.
    Run take(bool front) {
      uint64_t range = range_.load(std::memory_order_acquire);
      while (true) {
        const auto from = static_cast<int64_t>(range >> 32),
                   to = static_cast<int64_t>(range & 0xffffffffu);
        if (from >= to) return {0, 0};
        const int64_t size = std::max<int64_t>(1, (to - from) / 4),
                      begin = front ? from : to - size;
        const uint64_t rest = front ? packed(from + size, to) : packed(from, begin);
        if (range_.compare_exchange_weak(range, rest, std::memory_order_acq_rel))
          return {begin, begin + size};
      }
    }

   private:
    static uint64_t packed(int64_t begin, int64_t end) {
      return static_cast<uint64_t>(begin) << 32 | static_cast<uint64_t>(end);
    }
    std::atomic<uint64_t> range_{0};
  };

  explicit Team(int64_t size) : shares_(size) {}

  // Spins for a while, which is what short stages want; then sleeps, so that a member that was
  // taken off its core gets one: among other busy processes a spinning team would wait for whole
  // slices of time. Waking up takes longer than most waits, so patience is long (some 60 µs) where
  // it is rewarded, and halves whenever it was not.
  template <class T, class F>
  static void wait_until(const std::atomic<T>& value, const F& done, Ahead ahead) {
    const int patience = patience_.load(std::memory_order_relaxed);
    int64_t at = 0;
    for (int i = 0; i < patience; ++i) {
      if (done(value.load(std::memory_order_acquire))) {
        if (patience < kMostPatience)
          patience_.store(std::min(kMostPatience, patience + patience / 16),
                          std::memory_order_relaxed);
        return;
      }
      for (const int64_t next = std::min(ahead.bytes, at + 256); at < next; at += 64)
        __builtin_prefetch(ahead.from + at, 0, 2);
    }
    patience_.store(std::max(kLeastPatience, patience / 2), std::memory_order_relaxed);
    for (T seen = value.load(std::memory_order_acquire); !done(seen);
         seen = value.load(std::memory_order_acquire)) {
      value.wait(seen, std::memory_order_acquire);
    }
  }

  void wait(int64_t size, Ahead ahead) {
    const uint64_t generation = generation_.load(std::memory_order_acquire);
    if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      waiting_.store(0, std::memory_order_relaxed);
      generation_.store(generation + 1, std::memory_order_release);
      generation_.notify_all();
      return;
    }
    wait_until(generation_, [&](uint64_t now) { return now != generation; }, ahead);
  }

  // Looks at what is waited for, of all teams: what they reward is the machine's company.
  static constexpr int kLeastPatience = 2000, kMostPatience = 100000;
  alignas(64) static inline std::atomic<int> patience_{kMostPatience};

  alignas(64) std::atomic<int64_t> waiting_{0};
  alignas(64) std::atomic<uint64_t> generation_{0};
  std::vector<Share> shares_;
};

}  // namespace continuo
