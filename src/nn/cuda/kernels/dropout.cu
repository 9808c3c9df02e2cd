#include "nn/cuda/kernels/device.cuh"
#include "nn/cuda/kernels/entries.h"

namespace continuo::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kLanes = 8;  // elements that share a block of 128 random bits

// Philox4x32-10, as core/random.h has it.
__device__ inline void philox(uint32_t (&c)[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    const uint32_t first = static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0,
                   third = static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1;
    c[1] = static_cast<uint32_t>(p1);
    c[3] = static_cast<uint32_t>(p0);
    c[0] = first;
    c[2] = third;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
}

template <class T>
__global__ void dropout_mask_kernel(DropoutMask a) {
  const int64_t blocks = (a.columns + kLanes - 1) / kLanes;
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= a.rows * blocks) return;
  const int64_t row = index / blocks, first = index % blocks * kLanes;
  uint32_t words[4] = {};
  if (row < a.named) {
    const auto token = static_cast<uint64_t>(a.tokens[row]);
    words[0] = static_cast<uint32_t>(token);
    words[1] = static_cast<uint32_t>(token >> 32);
    words[2] = static_cast<uint32_t>(first / kLanes);
    words[3] = a.step;
    philox(words, a.key[0], a.key[1]);
  }
  T* mask = static_cast<T*>(a.mask) + row * a.columns;
  for (int lane = 0; lane < kLanes && first + lane < a.columns; ++lane) {
    const uint32_t draw = words[lane / 2] >> (16 * (lane % 2)) & 0xFFFF;
    const bool kept = row < a.named && draw >= a.threshold;
    narrow_to(mask[first + lane], kept ? a.kept : 0.0f);
  }
}

}  // namespace

const char* start_dropout_mask(const DropoutMask& a, Stream stream) {
  const int64_t threads = a.rows * blocks_for(a.columns, kLanes);
  if (threads == 0) return nullptr;
  with_type(a.type, [&](auto type) {
    launch(dropout_mask_kernel<decltype(type)>, blocks_for(threads, kThreads), kThreads, stream, a);
  });
  return launch_error();
}

}  // namespace continuo::cuda
