// Runs the source of our GPU kernels on the CPU, for tests on machines without a GPU: included
// before each .cu file, which is then compiled as C++. The threads of a block are fibres that take
// turns, from the first to the last and back; a barrier that cannot open, or a lane that left its
// warp, ends the process with a message.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __shared__ static thread_local

namespace continuo::cuda {

struct Index {
  unsigned x = 0;
};

// Runs `kernel` for every thread of every block, one block after the other.
void emulate(int64_t blocks, int threads, const std::function<void()>& kernel);
void wait_for_block();
// The bits that lane `lane ^ step` of the caller's warp gives.
uint64_t exchange(uint64_t bits, int step);

}  // namespace continuo::cuda

extern thread_local continuo::cuda::Index threadIdx, blockIdx, blockDim;

inline void __syncthreads() { continuo::cuda::wait_for_block(); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int step) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = continuo::cuda::exchange(bits, step);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

inline float __uint_as_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}
inline uint32_t __float_as_uint(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

namespace continuo::cuda {

template <class... P, class... A>
void launch(void (*kernel)(P...), int64_t blocks, int threads, void*, A... arguments) {
  emulate(blocks, threads, [&] { kernel(static_cast<P>(arguments)...); });
}
inline const char* launch_error() { return nullptr; }

}  // namespace continuo::cuda
