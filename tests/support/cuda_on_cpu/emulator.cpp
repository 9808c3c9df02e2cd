#include "support/cuda_on_cpu/emulator.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include <ucontext.h>

thread_local continuo::cuda::Index threadIdx, blockIdx, blockDim;

namespace continuo::cuda {

namespace {

constexpr int kLanes = 32;
constexpr size_t kStack = 64 << 10;

// Opens when everybody who is expected has come.
struct Barrier {
  int expected = 0, arrived = 0;
  int64_t opened = 0;

  void look() {
    if (arrived < expected || arrived == 0) return;
    arrived = 0;
    ++opened;
  }
};

struct Fibre {
  std::unique_ptr<char[]> stack;
  ucontext_t start;
  jmp_buf place;
  bool begun = false, over = false;
};

// The fibres of one thread of the CPU; they outlive a launch.
class Crew {
 public:
  void run(int64_t blocks, int threads, const std::function<void()>& kernel) {
    if (threads % kLanes != 0) fail("a block of a number of threads that is no multiple of 32");
    while (std::ssize(fibres_) < threads) fibres_.push_back(std::make_unique<Fibre>());
    kernel_ = &kernel;
    blockDim.x = static_cast<unsigned>(threads);
    for (int64_t block = 0; block < blocks; ++block) {
      blockIdx.x = static_cast<unsigned>(block);
      run_block(threads);
    }
  }

  void wait_for_block() { wait(all_); }

  uint64_t exchange(uint64_t bits, int step) {
    const int me = current_, warp = me / kLanes;
    if (warps_[warp].expected < kLanes) fail("a lane left its warp before an exchange");
    given_[me] = bits;
    wait(warps_[warp]);
    const uint64_t taken = given_[me ^ step];
    wait(warps_[warp]);
    return taken;
  }

 private:
  void run_block(int threads) {
    all_ = {.expected = threads};
    warps_.assign(threads / kLanes, {.expected = kLanes});
    given_.assign(threads, 0);
    for (int t = 0; t < threads; ++t) fibres_[t]->over = false;
    bool backwards = false;
    for (int left = threads; left > 0; backwards = !backwards) {
      const int64_t before = progress_;
      for (int turn = 0; turn < threads; ++turn) {
        // In turns from either end: what lacks a barrier is right in one order alone.
        const int t = backwards ? threads - 1 - turn : turn;
        if (fibres_[t]->over) continue;
        resume(t);
        if (fibres_[t]->over) leave(t), --left;
      }
      if (progress_ == before) fail("threads of a block wait for each other");
    }
  }

  void leave(int thread) {
    ++progress_;
    for (Barrier* barrier : {&all_, &warps_[thread / kLanes]}) {
      --barrier->expected;
      barrier->look();
    }
  }

  void wait(Barrier& barrier) {
    const int64_t opened = barrier.opened;
    ++barrier.arrived;
    ++progress_;
    barrier.look();
    while (barrier.opened == opened) yield();
  }

  // Contexts begin a fibre; later it and the crew jump, which takes no call of the kernel.
  void resume(int thread) {
    current_ = thread;
    threadIdx.x = static_cast<unsigned>(thread);
    Fibre& fibre = *fibres_[thread];
    if (_setjmp(place_) != 0) return;
    if (fibre.begun) _longjmp(fibre.place, 1);
    fibre.begun = true;
    fibre.stack = std::make_unique<char[]>(kStack);
    getcontext(&fibre.start);
    fibre.start.uc_stack = {.ss_sp = fibre.stack.get(), .ss_flags = 0, .ss_size = kStack};
    fibre.start.uc_link = nullptr;
    const auto crew = reinterpret_cast<uintptr_t>(this);
    makecontext(&fibre.start, reinterpret_cast<void (*)()>(&Crew::live), 2,
                static_cast<unsigned>(crew >> 32), static_cast<unsigned>(crew));
    setcontext(&fibre.start);
  }

  void yield() {
    if (_setjmp(fibres_[current_]->place) == 0) _longjmp(place_, 1);
  }

  static void live(unsigned high, unsigned low) {
    auto* crew = reinterpret_cast<Crew*>(uintptr_t{high} << 32 | low);
    while (true) {
      (*crew->kernel_)();
      crew->fibres_[crew->current_]->over = true;
      crew->yield();
    }
  }

  [[noreturn]] static void fail(const char* what) {
    std::fprintf(stderr, "emulated kernel: %s\n", what);
    std::abort();
  }

  std::vector<std::unique_ptr<Fibre>> fibres_;
  const std::function<void()>* kernel_ = nullptr;
  jmp_buf place_;
  int current_ = 0;
  int64_t progress_ = 0;
  Barrier all_;
  std::vector<Barrier> warps_;
  std::vector<uint64_t> given_;
};

thread_local Crew g_crew;

}  // namespace

void emulate(int64_t blocks, int threads, const std::function<void()>& kernel) {
  g_crew.run(blocks, threads, kernel);
}
void wait_for_block() { g_crew.wait_for_block(); }
uint64_t exchange(uint64_t bits, int step) { return g_crew.exchange(bits, step); }

}  // namespace continuo::cuda
