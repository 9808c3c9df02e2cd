#include "nn/swiglu.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/silu.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/cpu/matmul.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

constexpr int64_t kGrain = 1 << 13;

at::Tensor product(const at::Tensor& gate, const at::Tensor& up) {
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

// Gradients of gate and up from that of the product.
std::pair<at::Tensor, at::Tensor> product_backward(const at::Tensor& dproduct,
                                                   const at::Tensor& gate, const at::Tensor& up) {
  at::Tensor dgate = at::empty_like(gate), dup = at::empty_like(up);
  with_storage_type(gate.scalar_type(), [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, gate.numel(), kGrain, [&](int64_t begin, int64_t end) {
      kernels().typed<T>().swiglu_backward(end - begin, data<T>(dproduct) + begin,
                                           data<T>(gate) + begin, data<T>(up) + begin,
                                           data<T>(dgate) + begin, data<T>(dup) + begin);
    });
  });
  return {dgate, dup};
}

constexpr RemadeInput kProduct = {product, product_backward};

struct SwigluLinear : torch::autograd::Function<SwigluLinear> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate, const at::Tensor& up,
                            const at::Tensor& weight, const at::Tensor& cast) {
    ctx->save_for_backward({gate, up, cast});
    ctx->saved_data["weight_dtype"] = static_cast<int64_t>(weight.scalar_type());
    const at::AutoDispatchBelowADInplaceOrView below;
    return matmul_nt(product(gate, up), cast);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &gate = saved[0], &up = saved[1], &cast = saved[2];
    const at::Tensor dy = gradients[0].contiguous();
    const auto dtype = static_cast<at::ScalarType>(ctx->saved_data["weight_dtype"].toInt());
    at::Tensor dweight;
    if (ctx->needs_input_grad(2)) dweight = matmul_tn(dy, product(gate, up), dtype);
    const auto [dgate, dup] = product_backward(matmul_nn(dy, cast), gate, up);
    return {dgate, dup, dweight, at::Tensor()};
  }
};

}  // namespace

at::Tensor swiglu_linear(const at::Tensor& gate, const at::Tensor& up, LinearImpl& down) {
  if (!gate.is_cpu()) return down.forward(at::silu(gate) * up);
  const at::Tensor g = gate.contiguous(), u = up.contiguous();
  if (down.adapter) return down.adapter->forward(down, g, u, kProduct);
  if (!c10::GradMode::is_enabled()) return down.forward(product(g, u));
  if (down.bias.defined()) return down.forward(at::silu(g) * u);
  return SwigluLinear::apply(g, u, down.weight, down.cast_weight(gate.scalar_type()));
}

}  // namespace continuo
