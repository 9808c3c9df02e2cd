// The stand-in for a GPU sees what it is there to see.
#include "support/cuda_on_cpu/emulator.h"

#include <vector>

#include <gtest/gtest.h>

namespace continuo::cuda {
namespace {

constexpr int kThreads = 96;

// out[block] = Σ thread numbers, by shared memory; without the barrier for the negative control.
template <bool kWaits>
void sum_threads(int* out) {
  __shared__ int numbers[kThreads];
  numbers[threadIdx.x] = static_cast<int>(threadIdx.x + blockIdx.x);
  if (kWaits) __syncthreads();
  if (threadIdx.x % 32 != 5) return;
  int sum = 0;
  for (const int number : numbers) sum += number;
  out[3 * blockIdx.x + threadIdx.x / 32] = sum;
}

template <bool kWaits>
std::vector<int> sums() {
  std::vector<int> out(3 * 2);
  launch(sum_threads<kWaits>, 2, kThreads, nullptr, out.data());
  return out;
}

TEST(CudaEmulator, BarriersHoldAndTheirLackShows) {
  constexpr int kSum = kThreads * (kThreads - 1) / 2;
  const std::vector<int> waiting = sums<true>();
  EXPECT_EQ(waiting[0], kSum);
  EXPECT_EQ(waiting[3], kSum + kThreads);
  EXPECT_NE(sums<false>()[0], kSum);
}

void exchange_lanes(float* out) {
  const auto mine = static_cast<float>(threadIdx.x);
  out[threadIdx.x] = __shfl_xor_sync(0xFFFFFFFF, mine, 4);
}

TEST(CudaEmulator, LanesExchangeWithinTheirWarp) {
  std::vector<float> out(64);
  launch(exchange_lanes, 1, 64, nullptr, out.data());
  for (int t = 0; t < 64; ++t) EXPECT_EQ(out[t], static_cast<float>(t ^ 4));
}

void half_waits(int*) {
  if (threadIdx.x < 16) return __syncthreads();
  static_cast<void>(__shfl_xor_sync(0xFFFFFFFF, 1.0f, 1));
}
void lane_leaves(int*) {
  if (threadIdx.x == 3) return;
  static_cast<void>(__shfl_xor_sync(0xFFFFFFFF, 1.0f, 1));
}

TEST(CudaEmulatorDeathTest, FaultyKernelsEndTheProcess) {
  int nothing = 0;
  EXPECT_DEATH(launch(half_waits, 1, 32, nullptr, &nothing), "wait for each other");
  EXPECT_DEATH(launch(lane_leaves, 1, 32, nullptr, &nothing), "a lane left its warp");
  EXPECT_DEATH(launch(lane_leaves, 1, 33, nullptr, &nothing), "multiple of 32");
}

}  // namespace
}  // namespace continuo::cuda
