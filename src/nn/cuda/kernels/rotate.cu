#include "nn/cuda/kernels/device.cuh"
#include "nn/cuda/kernels/entries.h"

namespace continuo::cuda {

namespace {

constexpr int kThreads = 256;

// A thread turns kCount pairs of one head.
template <int kCount, class T>
__global__ void rotate_kernel(Rotate a) {
  const int64_t half = a.dim / 2, groups = half / kCount;
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= a.rows * a.heads * groups) return;
  const int64_t head = index / groups, c = index % groups * kCount;
  const int64_t angles = a.positions[head / a.heads] * half + c;
  const T* x = static_cast<const T*>(a.x) + head * a.dim + c;
  T* out = static_cast<T*>(a.out) + head * a.dim + c;
  float first[kCount], second[kCount], cos[kCount], sin[kCount], turned[kCount];
  load(x, first);
  load(x + half, second);
  load(a.cos + angles, cos);
  load(a.sin + angles, sin);
  for (int i = 0; i < kCount; ++i) turned[i] = first[i] * cos[i] - second[i] * sin[i] * a.sign;
  store(out, turned);
  for (int i = 0; i < kCount; ++i) turned[i] = second[i] * cos[i] + first[i] * sin[i] * a.sign;
  store(out + half, turned);
}

}  // namespace

const char* start_rotate(const Rotate& a, Stream stream) {
  if (a.rows == 0) return nullptr;
  const int64_t half = a.dim / 2, pairs = a.rows * a.heads * half;
  with_type(a.type, [&](auto type) {
    with_count(by_four(half, {a.x, a.cos, a.sin, a.out}), [&](auto count) {
      constexpr int kCount = decltype(count)::value;
      launch(rotate_kernel<kCount, decltype(type)>, blocks_for(pairs / kCount, kThreads), kThreads,
             stream, a);
    });
  });
  return launch_error();
}

}  // namespace continuo::cuda
