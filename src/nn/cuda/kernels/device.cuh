// What the kernels have in common: numbers in memory, vectors of them, sums over threads.
#pragma once

#include <cstdint>
#include <initializer_list>

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif

#include "nn/cuda/kernels/kernels.h"

namespace continuo::cuda {

// bfloat16 by its bits, rounded to nearest even.
struct Bf16 {
  uint16_t bits;
};

__device__ inline float widened(float x) { return x; }
__device__ inline float widened(Bf16 x) { return __uint_as_float(uint32_t{x.bits} << 16); }
__device__ inline void narrow_to(float& out, float x) { out = x; }
__device__ inline void narrow_to(Bf16& out, float x) {
  const uint32_t bits = __float_as_uint(x);
  const bool nan = (bits & 0x7FFFFFFF) > 0x7F800000;
  const uint32_t rounded = bits + 0x7FFF + (bits >> 16 & 1);
  out.bits = static_cast<uint16_t>((nan ? bits | 0x400000 : rounded) >> 16);
}

// kCount numbers side by side, which a thread moves at once.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Vector {
  T at[kCount];
};

template <int kCount, class T>
__device__ inline void load(const T* from, float (&to)[kCount]) {
  const auto values = *reinterpret_cast<const Vector<T, kCount>*>(from);
  for (int i = 0; i < kCount; ++i) to[i] = widened(values.at[i]);
}
template <int kCount, class T>
__device__ inline void store(T* to, const float (&from)[kCount]) {
  Vector<T, kCount> values;
  for (int i = 0; i < kCount; ++i) narrow_to(values.at[i], from[i]);
  *reinterpret_cast<Vector<T, kCount>*>(to) = values;
}

// Whether a thread may move four numbers at once: of rows of `count`, from addresses that allow it.
// Weights that lie in a flat buffer or in a mapped file begin anywhere.
inline bool by_four(int64_t count, std::initializer_list<const void*> addresses) {
  bool aligned = count % 4 == 0;
  for (const void* address : addresses)
    aligned = aligned && reinterpret_cast<uintptr_t>(address) % (4 * sizeof(float)) == 0;
  return aligned;
}
// Calls f with that as a number of the compiler.
template <int kValue>
struct Count {
  static constexpr int value = kValue;
};
template <class F>
void with_count(bool by_four, const F& f) {
  if (by_four) {
    f(Count<4>{});
  } else {
    f(Count<1>{});
  }
}

constexpr int kWarp = 32;
constexpr int kMostWarps = 32;  // of a block

// The sum over the threads of a warp, in every one of them.
__device__ inline float sum_of_warp(float x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xFFFFFFFF, x, step);
  return x;
}

// The sum over the threads of a block, in every one of them and in the same order in each.
// `room`: [kMostWarps] shared; it is free again at the next barrier.
__device__ inline float sum_of_block(float x, float* room) {
  const float mine = sum_of_warp(x);
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  if (threadIdx.x % kWarp == 0) room[threadIdx.x / kWarp] = mine;
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < warps; ++warp) sum += room[warp];
  __syncthreads();
  return sum;
}

// Calls f(T()) with the C++ type.
template <class F>
void with_type(Type type, const F& f) {
  if (type == Type::bf16) {
    f(Bf16{});
  } else {
    f(float{});
  }
}

#ifdef __CUDACC__
template <class... P, class... A>
void launch(void (*kernel)(P...), int64_t blocks, int threads, Stream stream, A... arguments) {
  kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0,
           static_cast<cudaStream_t>(stream)>>>(static_cast<P>(arguments)...);
}
inline const char* launch_error() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
#endif

inline int64_t blocks_for(int64_t count, int64_t each) { return (count + each - 1) / each; }

}  // namespace continuo::cuda
