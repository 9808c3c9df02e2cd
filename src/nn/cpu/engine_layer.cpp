#include "nn/cpu/engine_layer.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/IListRef.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "nn/cpu/kernels/kernels.h"

namespace continuo {

std::vector<float> host_floats(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  const at::Tensor f = tensor.detach().to(at::kFloat).contiguous();
  return {f.const_data_ptr<float>(), f.const_data_ptr<float>() + f.numel()};
}

EngineNorm::EngineNorm(const NormSpec& s, const NormWeights& weights)
    : spec(s), factor(host_floats(weights.factor)), bias(host_floats(weights.bias)) {}

void EngineNorm::apply(int64_t n, const float* x, float* y) const {
  // plus_one is in the factor already.
  const auto& [centred, plus_one, epsilon] = spec;
  const auto eps = static_cast<float>(epsilon);
  if (centred) return kernels().engine.layer_norm(n, x, factor.data(), bias.data(), eps, y);
  float rstd;
  kernels().f32.add_rms_norm({.rows = 1,
                              .hidden = n,
                              .residual = x,
                              .delta = nullptr,
                              .weight = factor.data(),
                              .eps = eps,
                              .sum = nullptr,
                              .y = y,
                              .rstd = &rstd});
}

std::span<const EngineDense> EngineLayer::mlps() const {
  if (const auto* dense = std::get_if<EngineDense>(&mlp)) return {dense, 1};
  return std::get<EngineExperts>(mlp).experts;
}

namespace {

void add_mlp(std::vector<Joint>& joints, const Dense& spec, int64_t block, int64_t expert) {
  const MatrixPlace gate{block, Matrix::gate, expert}, up{block, Matrix::up, expert},
      down{block, Matrix::down, expert};
  joints.push_back(spec.gated ? Joint{.parts = {gate, up}, .paired = true} : Joint{.parts = {up}});
  joints.push_back({.parts = {down}});
}

}  // namespace

std::vector<Joint> joints_of(const ModelSpec& spec) {
  std::vector<Joint> joints;
  for (int64_t i = 0; i < spec.layers(); ++i) {
    if (std::holds_alternative<Attend>(spec.blocks[i].mixer)) {
      joints.push_back({.parts = {{i, Matrix::query}, {i, Matrix::key}, {i, Matrix::value}}});
      joints.push_back({.parts = {{i, Matrix::output}}});
    } else {
      joints.push_back({.parts = {{i, Matrix::convolve_in}}});
      joints.push_back({.parts = {{i, Matrix::convolve_out}}});
    }
    if (const auto* dense = std::get_if<Dense>(&spec.blocks[i].mlp)) {
      add_mlp(joints, *dense, i, 0);
      continue;
    }
    const Experts& experts = std::get<Experts>(spec.blocks[i].mlp);
    joints.push_back({.parts = {{i, Matrix::router}}});
    for (int64_t e = 0; e < experts.count; ++e) add_mlp(joints, experts.expert, i, e);
  }
  return joints;
}

namespace {

// Biases of matrices one under the other; empty when there is none.
std::vector<float> joined_bias(const Joint& joint, const ModelWeights& weights) {
  std::vector<float> all;
  bool any = false;
  for (const MatrixPlace& place : joint.parts) {
    const auto& [weight, bias] = weights.matrices.at(place);
    any = any || bias.defined();
    const std::vector<float> own =
        bias.defined() ? host_floats(bias) : std::vector<float>(weight.out());
    all.insert(all.end(), own.begin(), own.end());
  }
  return any ? all : std::vector<float>();
}

// The layers' parts, in the order of the joints that they take.
class LayerMaker {
 public:
  LayerMaker(const ModelSpec& spec, const std::vector<Joint>& joints, const ModelWeights& weights)
      : spec_(spec), joints_(joints), weights_(weights) {}

  EngineLayer layer(int64_t block) {
    const auto& [norm, placement, parallel, mixer, mlp] = spec_.blocks[block];
    const BlockWeights& w = weights_.blocks[block];
    EngineLayer layer = {};
    layer.placement = placement;
    layer.parallel = parallel;
    if (const auto* attend = std::get_if<Attend>(&mixer)) {
      layer.mixer = EngineAttend{.spec = *attend, .query_norm = {}, .key_norm = {}};
    } else {
      layer.mixer = EngineConvolve{.spec = std::get<Convolve>(mixer),
                                   .kernel = host_floats(w.kernel.detach().t()),
                                   .bias = host_floats(w.kernel_bias)};
    }
    set_norms(layer, norm, w);
    layer.in_bias = joined_bias(joints_[next_], weights_);
    layer.in = next_++;
    layer.out_bias = joined_bias(joints_[next_], weights_);
    layer.out = next_++;
    if (const auto* one = std::get_if<Dense>(&mlp)) {
      layer.mlp = dense(*one);
    } else {
      const Experts& experts = std::get<Experts>(mlp);
      EngineExperts& all = layer.mlp.emplace<EngineExperts>(experts, next_++);
      for (int64_t e = 0; e < experts.count; ++e) all.experts.push_back(dense(experts.expert));
    }
    return layer;
  }

 private:
  EngineDense dense(const Dense& spec) {
    const auto bias = [&](const MatrixPlace& place) {
      return host_floats(weights_.matrices.at(place).bias);
    };
    const std::vector<MatrixPlace>&in = joints_[next_].parts, &out = joints_[next_ + 1].parts;
    const EngineDense dense = {.spec = spec,
                               .gate_bias = spec.gated ? bias(in.front()) : std::vector<float>(),
                               .up_bias = bias(in.back()),
                               .down_bias = bias(out.front()),
                               .in = next_,
                               .out = next_ + 1};
    next_ += 2;
    return dense;
  }

  const ModelSpec& spec_;
  const std::vector<Joint>& joints_;
  const ModelWeights& weights_;
  int64_t next_ = 0;
};

}  // namespace

std::vector<EngineLayer> engine_layers(const ModelSpec& spec, const std::vector<Joint>& joints,
                                       const ModelWeights& weights) {
  LayerMaker maker(spec, joints, weights);
  std::vector<EngineLayer> layers;
  for (int64_t i = 0; i < spec.layers(); ++i) layers.push_back(maker.layer(i));
  return layers;
}

void set_norms(EngineLayer& layer, const NormSpec& spec, const BlockWeights& w) {
  layer.mixer_norm = {spec, w.mixer_norm};
  layer.mixer_post_norm = {spec, w.mixer_post_norm};
  layer.mlp_norm = {spec, w.mlp_norm};
  layer.mlp_post_norm = {spec, w.mlp_post_norm};
  if (auto* attend = std::get_if<EngineAttend>(&layer.mixer)) {
    attend->query_norm = {spec, w.query_norm};
    attend->key_norm = {spec, w.key_norm};
  }
}

PanelRows joint_rows(const Joint& joint, const ModelWeights& weights) {
  std::vector<WeightMatrix> parts;
  for (const MatrixPlace& place : joint.parts) parts.push_back(weights.matrices.at(place).weight);
  return PanelRows(std::move(parts), joint.paired);
}

EngineAdapter::EngineAdapter(const AdapterWeights& adapter, const std::vector<Joint>& joints,
                             const ModelWeights& weights) {
  for (const Joint& joint : joints) {
    joints_.push_back(pack(adapter, joint, weights));
    widest_ = std::max(widest_, joints_.back().a.stride_out());
  }
}

JointAdapter EngineAdapter::pack(const AdapterWeights& adapter, const Joint& joint,
                                 const ModelWeights& weights) {
  std::vector<WeightMatrix> a, b;
  std::vector<at::Tensor> factors;
  int64_t ranks = 0;
  bool scaled = false;
  for (const MatrixPlace& place : joint.parts) {
    const auto rows = adapter.find(place);
    if (rows == adapter.end()) continue;
    a.emplace_back(rows->second.a);
    ranks += a.back().out();
    scaled = scaled || rows->second.factor.defined();
  }
  if (ranks == 0) return {};
  int64_t at = 0;
  for (const MatrixPlace& place : joint.parts) {
    const int64_t out = weights.matrices.at(place).weight.out();
    const at::TensorOptions floats(at::kFloat);
    const at::Tensor columns = at::zeros({out, ranks}, floats);
    b.emplace_back(columns);
    factors.push_back(at::ones({out}, floats));
    const auto rows = adapter.find(place);
    if (rows == adapter.end()) continue;
    const LowRank& low = rows->second;
    columns.narrow(1, at, low.a.size(0)).copy_(low.b * low.scale);
    if (low.factor.defined()) factors.back() = low.factor.to(at::kFloat);
    at += low.a.size(0);
  }
  PanelRows down(std::move(a)), up(std::move(b), joint.paired);
  PanelArena& arena = memory_.emplace_back(packed_bytes(WeightFormat::f32, down) +
                                           packed_bytes(WeightFormat::f32, up));
  JointAdapter packed = {.a = continuo::pack(arena, WeightFormat::f32, std::move(down)),
                         .b = continuo::pack(arena, WeightFormat::f32, std::move(up)),
                         .factor = {}};
  if (!scaled) return packed;
  packed.factor =
      joint.paired ? paired_values(factors[0], factors[1]) : host_floats(at::cat(factors));
  packed.factor.resize(packed.b.stride_out(), 1.0f);
  return packed;
}

}  // namespace continuo
