#include <ATen/TensorOperators.h>
#include <ATen/ops/native_layer_norm.h>
#include <ATen/ops/native_layer_norm_backward.h>
#include <ATen/ops/rsqrt.h>

#include "nn/aten/ops.h"

namespace continuo::aten {

namespace {

NormValues layer_norm(const at::Tensor& sum, const NormInput& in) {
  const auto [y, mean, rstd] =
      at::native_layer_norm(sum, {sum.size(1)}, in.weight, in.bias, in.epsilon);
  return {sum, y.to(in.dtype), mean, rstd};
}

NormGradients layer_norm_backward(const NormInput& in, const NormValues& values,
                                  const at::Tensor& dy) {
  const auto [dx, dweight, dbias] = at::native_layer_norm_backward(
      dy.to(at::kFloat), values.sum, {values.sum.size(1)}, values.mean, values.rstd, in.weight,
      in.bias, {true, true, true});
  return {dx, {}, dweight, dbias};
}

// With x̂ = x · rstd and g = dy · weight: dx = rstd · (g − x̂ · mean(g · x̂)), dweight = Σ dy · x̂.
NormGradients rms_norm_backward(const NormInput& in, const NormValues& values,
                                const at::Tensor& dy) {
  const at::Tensor rstd = values.rstd.unsqueeze(1), wide = dy.to(at::kFloat);
  const at::Tensor unit = values.sum * rstd, g = wide * in.weight;
  return {rstd * (g - unit * (g * unit).mean(1, /*keepdim=*/true)), {}, (wide * unit).sum(0), {}};
}

}  // namespace

NormValues norm(const NormInput& in) {
  const at::Tensor sum = in.delta.defined() ? in.residual + in.delta : in.residual;
  if (in.bias.defined()) return layer_norm(sum, in);
  const at::Tensor rstd = at::rsqrt(sum.pow(2).mean(1) + in.epsilon);
  return {sum, (sum * rstd.unsqueeze(1) * in.weight).to(in.dtype), {}, rstd};
}

NormGradients norm_backward(const NormInput& in, const NormValues& values, const at::Tensor& dsum,
                            const at::Tensor& dy) {
  NormGradients g =
      in.bias.defined() ? layer_norm_backward(in, values, dy) : rms_norm_backward(in, values, dy);
  if (dsum.defined()) g.sum = g.sum + dsum;
  g.delta = g.sum.to(in.dtype);
  return g;
}

}  // namespace continuo::aten
