#include "nn/cuda/kernels/device.cuh"
#include "nn/cuda/kernels/entries.h"

namespace continuo::cuda {

namespace {

constexpr int kThreads = 256;
// Up to here a warp takes a row by itself, eight rows a block: heads are normalised one by one.
constexpr int64_t kWarpColumns = 1024;

// The threads that share a row: a warp, or the block.
template <bool kOfBlock>
struct Team {
  __device__ static int64_t row() {
    return kOfBlock ? blockIdx.x : int64_t{blockIdx.x} * (blockDim.x / kWarp) + threadIdx.x / kWarp;
  }
  __device__ static int first() {
    return static_cast<int>(kOfBlock ? threadIdx.x : threadIdx.x % kWarp);
  }
  __device__ static int size() { return static_cast<int>(kOfBlock ? blockDim.x : kWarp); }
  __device__ static float sum(float x, float* room) {
    return kOfBlock ? sum_of_block(x, room) : sum_of_warp(x);
  }
};

template <bool kOfBlock, int kCount, class T>
__global__ void add_rms_norm_kernel(AddRmsNorm a) {
  using Rows = Team<kOfBlock>;
  __shared__ float room[kMostWarps];
  const int64_t row = Rows::row();
  if (!kOfBlock && row >= a.rows) return;
  const float* residual = a.residual + row * a.hidden;
  const T* delta = a.delta ? static_cast<const T*>(a.delta) + row * a.hidden : nullptr;
  float squares = 0;
  for (int64_t c = Rows::first() * kCount; c < a.hidden; c += Rows::size() * kCount) {
    float x[kCount], d[kCount];
    load(residual + c, x);
    if (delta) {
      load(delta + c, d);
      for (int i = 0; i < kCount; ++i) x[i] += d[i];
      store(a.sum + row * a.hidden + c, x);
    }
    for (int i = 0; i < kCount; ++i) squares += x[i] * x[i];
  }
  const float mean = Rows::sum(squares, room) / static_cast<float>(a.hidden);
  const float rstd = 1 / sqrtf(mean + a.epsilon);
  if (Rows::first() == 0) a.rstd[row] = rstd;
  // A thread reads what it wrote itself.
  const float* sum = delta ? a.sum + row * a.hidden : residual;
  T* y = static_cast<T*>(a.y) + row * a.hidden;
  for (int64_t c = Rows::first() * kCount; c < a.hidden; c += Rows::size() * kCount) {
    float x[kCount], w[kCount];
    load(sum + c, x);
    load(a.weight + c, w);
    for (int i = 0; i < kCount; ++i) x[i] *= rstd * w[i];
    store(y + c, x);
  }
}

template <bool kOfBlock, int kCount, class T>
__global__ void norm_input_gradient_kernel(AddRmsNormBackward a) {
  using Rows = Team<kOfBlock>;
  __shared__ float room[kMostWarps];
  const int64_t row = Rows::row();
  if (!kOfBlock && row >= a.rows) return;
  const int64_t at = row * a.hidden;
  const T* dy = static_cast<const T*>(a.dy) + at;
  const float rstd = a.rstd[row];
  float dot = 0;
  for (int64_t c = Rows::first() * kCount; c < a.hidden; c += Rows::size() * kCount) {
    float g[kCount], x[kCount], w[kCount];
    load(dy + c, g);
    load(a.sum + at + c, x);
    load(a.weight + c, w);
    for (int i = 0; i < kCount; ++i) dot += g[i] * w[i] * (x[i] * rstd);
  }
  const float mean = Rows::sum(dot, room) / static_cast<float>(a.hidden);
  for (int64_t c = Rows::first() * kCount; c < a.hidden; c += Rows::size() * kCount) {
    float g[kCount], x[kCount], w[kCount], d[kCount];
    load(dy + c, g);
    load(a.sum + at + c, x);
    load(a.weight + c, w);
    for (int i = 0; i < kCount; ++i) d[i] = rstd * (g[i] * w[i] - x[i] * rstd * mean);
    if (a.dsum) {
      load(a.dsum + at + c, x);
      for (int i = 0; i < kCount; ++i) d[i] += x[i];
    }
    store(a.dx + at + c, d);
    if (a.ddelta) store(static_cast<Bf16*>(a.ddelta) + at + c, d);
  }
}

// Of the threads of a block, which sum up a tile of columns: those of one column take every eighth
// row.
constexpr int kColumns = 32, kLanes = 8;

template <class T>
__global__ void norm_weight_partials_kernel(AddRmsNormBackward a) {
  __shared__ float lanes[kLanes][kColumns];
  const int64_t tiles = (a.hidden + kColumns - 1) / kColumns;
  const int64_t part = blockIdx.x / tiles;
  const int column = static_cast<int>(threadIdx.x) % kColumns,
            lane = static_cast<int>(threadIdx.x) / kColumns;
  const int64_t c = blockIdx.x % tiles * kColumns + column;
  const int64_t begin = part * kNormPartialRows;
  const int64_t end = begin + kNormPartialRows < a.rows ? begin + kNormPartialRows : a.rows;
  float sum = 0;
  for (int64_t row = begin + lane; c < a.hidden && row < end; row += kLanes) {
    const int64_t at = row * a.hidden + c;
    sum += widened(static_cast<const T*>(a.dy)[at]) * (a.sum[at] * a.rstd[row]);
  }
  lanes[lane][column] = sum;
  __syncthreads();
  if (lane > 0 || c >= a.hidden) return;
  for (int other = 1; other < kLanes; ++other) sum += lanes[other][column];
  a.partial[part * a.hidden + c] = sum;
}

__global__ void sum_partials_kernel(const float* partial, int64_t parts, int64_t hidden,
                                    float* out) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= hidden) return;
  float sum = 0;
  for (int64_t part = 0; part < parts; ++part) sum += partial[part * hidden + c];
  out[c] = sum;
}

// Calls f with whether a block takes a row, and with how many numbers a thread moves at once.
template <bool kValue>
struct Flag {
  static constexpr bool value = kValue;
};
template <class F>
void with_layout(int64_t hidden, bool by_four, const F& f) {
  with_count(by_four, [&](auto count) {
    if (hidden > kWarpColumns) {
      f(Flag<true>{}, count);
    } else {
      f(Flag<false>{}, count);
    }
  });
}

int64_t blocks_of(int64_t rows, int64_t hidden) {
  return hidden > kWarpColumns ? rows : blocks_for(rows, kThreads / kWarp);
}

}  // namespace

const char* start_add_rms_norm(const AddRmsNorm& a, Stream stream) {
  if (a.rows == 0) return nullptr;
  const bool four = by_four(a.hidden, {a.residual, a.delta, a.weight, a.sum, a.y});
  with_type(a.type, [&](auto type) {
    with_layout(a.hidden, four, [&](auto of_block, auto count) {
      launch(add_rms_norm_kernel<decltype(of_block)::value, decltype(count)::value, decltype(type)>,
             blocks_of(a.rows, a.hidden), kThreads, stream, a);
    });
  });
  return launch_error();
}

const char* start_add_rms_norm_backward(const AddRmsNormBackward& a, Stream stream) {
  const int64_t parts = norm_partials(a.rows);
  const bool four = by_four(a.hidden, {a.dy, a.dsum, a.sum, a.weight, a.dx, a.ddelta});
  with_type(a.type, [&](auto type) {
    using T = decltype(type);
    if (a.rows > 0) {
      with_layout(a.hidden, four, [&](auto of_block, auto count) {
        launch(norm_input_gradient_kernel<decltype(of_block)::value, decltype(count)::value, T>,
               blocks_of(a.rows, a.hidden), kThreads, stream, a);
      });
      launch(norm_weight_partials_kernel<T>, parts * blocks_for(a.hidden, kColumns),
             kColumns * kLanes, stream, a);
    }
    launch(sum_partials_kernel, blocks_for(a.hidden, kThreads), kThreads, stream, a.partial, parts,
           a.hidden, a.dweight);
  });
  return launch_error();
}

}  // namespace continuo::cuda
