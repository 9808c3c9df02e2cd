#include "nn/rope.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/core/IListRef.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/backend.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// θ^(2i/dim)
at::Tensor rope_powers(double theta, int64_t dim) {
  const at::Tensor exponents =
      at::arange(0, dim, 2, at::TensorOptions(at::kLong)).to(at::kFloat) / static_cast<double>(dim);
  return at::pow(at::Scalar(theta), exponents);
}

// Wavelengths much shorter than the original context stay, much longer ones are stretched, with a
// ramp between.
at::Tensor llama3_frequencies(const at::Tensor& plain, const RopeScaling& s) {
  const double original = static_cast<double>(s.original_context);
  const at::Tensor wavelengths = 2 * M_PI / plain;
  const at::Tensor stretched =
      at::where(wavelengths > original / s.low_frequency, plain / s.factor, plain);
  const at::Tensor smooth =
      (original / wavelengths - s.low_frequency) / (s.high_frequency - s.low_frequency);
  const at::Tensor ramp = (1 - smooth) * stretched / s.factor + smooth * stretched;
  const at::Tensor between = (wavelengths < original / s.high_frequency)
                                 .logical_or(wavelengths > original / s.low_frequency)
                                 .logical_not();
  return at::where(between, ramp, stretched);
}

// Dimensions that turn often within the original context stay, slow ones are stretched, with a ramp
// between.
at::Tensor yarn_frequencies(const at::Tensor& powers, double theta, int64_t dim,
                            const RopeScaling& s) {
  const auto dimension_of = [&](double rotations) {
    return static_cast<double>(dim) *
           std::log(static_cast<double>(s.original_context) / (rotations * 2 * M_PI)) /
           (2 * std::log(theta));
  };
  double low = dimension_of(s.beta_fast), high = dimension_of(s.beta_slow);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;
  const at::Tensor ramp =
      ((at::arange(dim / 2, at::TensorOptions(at::kFloat)) - low) / (high - low)).clamp(0, 1);
  return 1.0 / (s.factor * powers) * ramp + 1.0 / powers * (1 - ramp);
}

at::Tensor float_tensor(const std::vector<double>& values) {
  at::Tensor t = at::empty({static_cast<int64_t>(values.size())}, at::TensorOptions(at::kFloat));
  std::copy(values.begin(), values.end(), t.data_ptr<float>());
  return t;
}

}  // namespace

at::Tensor RopeTable::frequencies(int64_t length) const {
  const auto& [dim, theta, s] = options_;
  const at::Tensor powers = rope_powers(theta, dim);
  const double original = static_cast<double>(s.original_context);
  switch (s.kind) {
    case RopeKind::plain:
      return 1.0 / powers;
    case RopeKind::linear:
      return 1.0 / powers / s.factor;
    case RopeKind::dynamic: {
      const double dims = static_cast<double>(dim);
      const double longest = std::max(original, static_cast<double>(length));
      const double stretch =
          std::pow(s.factor * longest / original - (s.factor - 1), dims / (dims - 2));
      return 1.0 / rope_powers(theta * stretch, dim);
    }
    case RopeKind::yarn:
      return yarn_frequencies(powers, theta, dim, s);
    case RopeKind::longrope:
      return 1.0 / (float_tensor(length > s.original_context ? s.long_factors : s.short_factors) *
                    powers);
    case RopeKind::llama3:
      return llama3_frequencies(1.0 / powers, s);
  }
  return {};
}

void RopeTable::ensure(int64_t length, at::Device device) {
  if (cos_.defined() && cos_.size(0) >= length && cos_.device() == device) return;
  constexpr int64_t kChunk = 512;
  const int64_t grown = std::max(length, cos_.defined() ? 2 * cos_.size(0) : kChunk);
  const at::TensorOptions options = at::TensorOptions(at::kFloat).device(device);
  const at::Tensor angles =
      at::outer(at::arange(grown, at::TensorOptions(at::kFloat)), frequencies(0)).to(device);
  cos_ = angles.cos().to(options).contiguous();
  sin_ = angles.sin().to(options).contiguous();
  if (options_.scaling.attention_factor != 1) {
    cos_.mul_(options_.scaling.attention_factor);
    sin_.mul_(options_.scaling.attention_factor);
  }
}

Rotation RopeTable::rotation(const at::Tensor& positions, const std::vector<int64_t>& boundaries,
                             std::span<const int64_t> lengths) {
  const RopeScaling& s = options_.scaling;
  const int64_t longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  const bool by_length = s.kind == RopeKind::dynamic || s.kind == RopeKind::longrope;
  if (!by_length || longest <= s.original_context) {
    ensure(longest, positions.device());
    return {cos_, sin_, positions};
  }
  std::vector<at::Tensor> angles;
  for (size_t d = 0; d < lengths.size(); ++d) {
    const at::Tensor own = positions.narrow(0, boundaries[d], boundaries[d + 1] - boundaries[d]);
    angles.push_back(at::outer(own.to(at::kFloat), frequencies(lengths[d]).to(positions.device())));
  }
  const at::Tensor all = at::cat(angles);
  return {all.cos() * s.attention_factor, all.sin() * s.attention_factor,
          at::arange(positions.size(0), positions.options())};
}

namespace {

struct Rotate : torch::autograd::Function<Rotate> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const Rotation& r) {
    ctx->save_for_backward({r.cos, r.sin, r.rows});
    return backend_of(x).rotate.rotate(x, r, 1);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor dy = gradients[0].contiguous();
    return {backend_of(dy).rotate.rotate(dy, {saved[0], saved[1], saved[2]}, -1), at::Tensor()};
  }
};

}  // namespace

at::Tensor rotate(const at::Tensor& x, const Rotation& r) {
  const int64_t half = r.cos.size(1);
  if (2 * half < x.size(2)) {
    return at::cat(
        {rotate(x.narrow(2, 0, 2 * half), r), x.narrow(2, 2 * half, x.size(2) - 2 * half)}, 2);
  }
  return Rotate::apply(x.contiguous(), Rotation{r.cos, r.sin, r.rows.contiguous()});
}

}  // namespace continuo
