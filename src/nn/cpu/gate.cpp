#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>

#include "nn/aten/ops.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/cpu/ops.h"

namespace continuo::cpu {

namespace {

constexpr int64_t kGrain = 1 << 13;

bool by_kernel(const at::Tensor& up, Activation activation) {
  return up.defined() && activation == Activation::silu;
}

}  // namespace

at::Tensor gate(const at::Tensor& gate, const at::Tensor& up, Activation activation) {
  if (!by_kernel(up, activation)) return aten::gate(gate, up, activation);
  at::Tensor out = at::empty_like(gate);
  with_storage_type(gate.scalar_type(), [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, gate.numel(), kGrain, [&](int64_t begin, int64_t end) {
      kernels().typed<T>().swiglu(end - begin, data<T>(gate) + begin, data<T>(up) + begin,
                                  data<T>(out) + begin);
    });
  });
  return out;
}

std::pair<at::Tensor, at::Tensor> gate_backward(const at::Tensor& gradient, const at::Tensor& gate,
                                                const at::Tensor& up, Activation activation) {
  if (!by_kernel(up, activation)) return aten::gate_backward(gradient, gate, up, activation);
  at::Tensor dgate = at::empty_like(gate), dup = at::empty_like(up);
  with_storage_type(gate.scalar_type(), [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, gate.numel(), kGrain, [&](int64_t begin, int64_t end) {
      kernels().typed<T>().swiglu_backward(end - begin, data<T>(gradient) + begin,
                                           data<T>(gate) + begin, data<T>(up) + begin,
                                           data<T>(dgate) + begin, data<T>(dup) + begin);
    });
  });
  return {dgate, dup};
}

}  // namespace continuo::cpu
