#include "nn/cuda/kernels/device.cuh"
#include "nn/cuda/kernels/entries.h"

namespace continuo::cuda {

namespace {

constexpr int kThreads = 512;

// Of some of a row's logits: m is the largest, at `best`, the lowest such place; with e = exp(x −
// m): mass = Σ e, moment = Σ e · (x − m). Differences to the largest are exact where logits
// themselves are large.
struct Sums {
  float largest, mass, moment, total;
  int64_t best;
};

__device__ inline Sums no_sums() { return {-INFINITY, 0, 0, 0, INT64_MAX}; }

// Of what both were of: each part is moved to the larger of the two largest.
__device__ inline Sums joined(const Sums& a, const Sums& b) {
  const bool first = a.largest > b.largest || (a.largest == b.largest && a.best < b.best);
  Sums s = {first ? a.largest : b.largest, 0, 0, a.total + b.total, first ? a.best : b.best};
  if (a.mass > 0) {
    const float by = a.largest - s.largest, shrunk = expf(by);
    s.mass += shrunk * a.mass;
    s.moment += shrunk * (a.moment + by * a.mass);
  }
  if (b.mass > 0) {
    const float by = b.largest - s.largest, shrunk = expf(by);
    s.mass += shrunk * b.mass;
    s.moment += shrunk * (b.moment + by * b.mass);
  }
  return s;
}

__device__ inline void add(Sums& s, float x, int64_t at) {
  s.total += x;
  if (x > s.largest) {
    if (s.mass > 0) {
      const float by = s.largest - x, shrunk = expf(by);
      s.moment = shrunk * (s.moment + by * s.mass);
      s.mass *= shrunk;
    }
    s.largest = x;
    s.best = at;
    s.mass += 1;
    return;
  }
  const float by = x - s.largest, e = expf(by);
  s.mass += e;
  s.moment += e > 0 ? e * by : 0;  // 0 · ∞ has no place here
}

__device__ inline Sums from_lane(const Sums& s, int step) {
  constexpr unsigned kAll = 0xFFFFFFFF;
  return {__shfl_xor_sync(kAll, s.largest, step), __shfl_xor_sync(kAll, s.mass, step),
          __shfl_xor_sync(kAll, s.moment, step), __shfl_xor_sync(kAll, s.total, step),
          __shfl_xor_sync(kAll, s.best, step)};
}

__device__ inline Sums sums_of_block(Sums s, Sums* room) {
  for (int step = kWarp / 2; step > 0; step /= 2) s = joined(s, from_lane(s, step));
  if (threadIdx.x % kWarp == 0) room[threadIdx.x / kWarp] = s;
  __syncthreads();
  s = room[0];
  for (int warp = 1; warp < static_cast<int>(blockDim.x) / kWarp; ++warp) s = joined(s, room[warp]);
  return s;
}

// d(factor · loss)/d(logits) in their place.
template <int kCount, class T>
__device__ inline void write_gradient(const CrossEntropy& a, T* logits, int64_t target,
                                      const Sums& s, float factor) {
  const float log_mass = logf(s.mass), slope = 1 + 2 * a.z_loss * (s.largest + log_mass);
  const float smooth = a.label_smoothing / static_cast<float>(a.vocabulary);
  for (int64_t c = int64_t{threadIdx.x} * kCount; c < a.vocabulary;
       c += int64_t{blockDim.x} * kCount) {
    float x[kCount];
    load(logits + c, x);
    for (int i = 0; i < kCount; ++i) {
      x[i] = expf(x[i] - s.largest - log_mass) * slope - smooth;
      if (c + i == target) x[i] -= 1 - a.label_smoothing;
      x[i] *= factor;
    }
    store(logits + c, x);
  }
}

// A block takes a row.
template <int kCount, class T>
__global__ void cross_entropy_kernel(CrossEntropy a) {
  __shared__ Sums room[kMostWarps];
  const int64_t row = blockIdx.x, target = a.targets[row];
  T* logits = static_cast<T*>(a.logits) + row * a.vocabulary;
  const float chosen = widened(logits[target]);  // before anybody writes
  Sums s = no_sums();
  for (int64_t c = int64_t{threadIdx.x} * kCount; c < a.vocabulary;
       c += int64_t{blockDim.x} * kCount) {
    float x[kCount];
    load(logits + c, x);
    for (int i = 0; i < kCount; ++i) add(s, x[i], c + i);
  }
  s = sums_of_block(s, room);
  if (threadIdx.x == 0) {
    const float log_mass = logf(s.mass), lse = s.largest + log_mass;
    const float nll = log_mass - (chosen - s.largest);
    const float mean = s.total / static_cast<float>(a.vocabulary);
    a.nll[row] = nll;
    a.entropy[row] = log_mass - s.moment / s.mass;
    a.correct[row] = s.best == target ? 1.0f : 0.0f;
    a.loss[row] = (1 - a.label_smoothing) * nll +
                  a.label_smoothing * (log_mass - (mean - s.largest)) + a.z_loss * lse * lse;
  }
  if (!a.gradient) return;
  const float factor = row < a.weighted ? a.scale * a.weights[row] : a.scale;
  write_gradient<kCount>(a, logits, target, s, factor);
}

}  // namespace

const char* start_cross_entropy(const CrossEntropy& a, Stream stream) {
  if (a.rows == 0) return nullptr;
  with_type(a.type, [&](auto type) {
    with_count(by_four(a.vocabulary, {a.logits}), [&](auto count) {
      launch(cross_entropy_kernel<decltype(count)::value, decltype(type)>, a.rows, kThreads, stream,
             a);
    });
  });
  return launch_error();
}

}  // namespace continuo::cuda
