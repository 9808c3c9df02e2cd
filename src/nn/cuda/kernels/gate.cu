#include "nn/cuda/kernels/device.cuh"
#include "nn/cuda/kernels/entries.h"

namespace continuo::cuda {

namespace {

constexpr int kThreads = 256;

struct ValueAndSlope {
  float value, slope;
};

// activation(x) and its derivative, as LibTorch defines them.
__device__ inline ValueAndSlope activate(Activation activation, float x) {
  switch (activation) {
    case Activation::silu: {
      const float s = 1 / (1 + expf(-x));
      return {x * s, s * (1 + x * (1 - s))};
    }
    case Activation::gelu: {
      const float below = 0.5f * (1 + erff(x * 0.70710678f));
      return {x * below, below + x * 0.39894228f * expf(-0.5f * x * x)};
    }
    case Activation::gelu_tanh: {
      constexpr float kScale = 0.79788456f, kCube = 0.044715f;
      const float t = tanhf(kScale * (x + kCube * x * x * x));
      const float inner = kScale * (1 + 3 * kCube * x * x);
      return {0.5f * x * (1 + t), 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * inner};
    }
    case Activation::relu:
      break;
  }
  return {x > 0 ? x : 0, x > 0 ? 1.0f : 0.0f};
}

template <int kCount, class T>
__global__ void gate_kernel(Gate a) {
  const int64_t at = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
  if (at >= a.count) return;
  float gate[kCount], up[kCount];
  load(static_cast<const T*>(a.gate) + at, gate);
  if (a.up) load(static_cast<const T*>(a.up) + at, up);
  for (int i = 0; i < kCount; ++i)
    gate[i] = activate(a.activation, gate[i]).value * (a.up ? up[i] : 1);
  store(static_cast<T*>(a.out) + at, gate);
}

template <int kCount, class T>
__global__ void gate_backward_kernel(GateBackward a) {
  const int64_t at = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
  if (at >= a.count) return;
  float gradient[kCount], gate[kCount], up[kCount];
  load(static_cast<const T*>(a.gradient) + at, gradient);
  load(static_cast<const T*>(a.gate) + at, gate);
  if (a.up) load(static_cast<const T*>(a.up) + at, up);
  for (int i = 0; i < kCount; ++i) {
    const ValueAndSlope y = activate(a.activation, gate[i]);
    gate[i] = gradient[i] * (a.up ? up[i] : 1) * y.slope;
    up[i] = gradient[i] * y.value;
  }
  store(static_cast<T*>(a.dgate) + at, gate);
  if (a.dup) store(static_cast<T*>(a.dup) + at, up);
}

}  // namespace

const char* start_gate(const Gate& a, Stream stream) {
  if (a.count == 0) return nullptr;
  with_type(a.type, [&](auto type) {
    with_count(by_four(a.count, {a.gate, a.up, a.out}), [&](auto count) {
      constexpr int kCount = decltype(count)::value;
      launch(gate_kernel<kCount, decltype(type)>, blocks_for(a.count / kCount, kThreads), kThreads,
             stream, a);
    });
  });
  return launch_error();
}

const char* start_gate_backward(const GateBackward& a, Stream stream) {
  if (a.count == 0) return nullptr;
  const bool four = by_four(a.count, {a.gradient, a.gate, a.up, a.dgate, a.dup});
  with_type(a.type, [&](auto type) {
    with_count(four, [&](auto count) {
      constexpr int kCount = decltype(count)::value;
      launch(gate_backward_kernel<kCount, decltype(type)>, blocks_for(a.count / kCount, kThreads),
             kThreads, stream, a);
    });
  });
  return launch_error();
}

}  // namespace continuo::cuda
