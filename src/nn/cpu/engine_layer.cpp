#include "nn/cpu/engine_layer.h"

#include <algorithm>

#include <ATen/core/IListRef.h>
#include <ATen/ops/cat.h>
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
  kernels().f32.add_rms_norm(1, n, x, nullptr, factor.data(), eps, nullptr, y, &rstd);
}

namespace {

// Biases of matrices one under the other; empty when there is none.
std::vector<float> joined_bias(const std::vector<LinearWeights>& parts) {
  std::vector<float> all;
  bool any = false;
  for (const auto& [weight, bias] : parts) {
    any = any || bias.defined();
    const std::vector<float> own =
        bias.defined() ? host_floats(bias) : std::vector<float>(weight.size(0));
    all.insert(all.end(), own.begin(), own.end());
  }
  return any ? all : std::vector<float>();
}

PackedMatrix pack_gate_up(PanelArena& arena, WeightFormat format, const at::Tensor& gate,
                          const at::Tensor& up) {
  return gate.defined() ? pack_paired(arena, format, gate, up)
                        : pack_concatenated(arena, format, {up});
}

int64_t gate_up_panels(const at::Tensor& gate, const at::Tensor& up) {
  return gate.defined() ? paired_panels(gate) : concatenated_panels({up});
}

}  // namespace

int64_t layer_bytes(const BlockWeights& w, PanelFormat format) {
  const at::Tensor &q = w.query.weight, &k = w.key.weight, &v = w.value.weight;
  return concatenated_panels({q, k, v}) * panel_bytes(format, q.size(1)) +
         concatenated_panels({w.output.weight}) * panel_bytes(format, w.output.weight.size(1)) +
         gate_up_panels(w.gate.weight, w.up.weight) * panel_bytes(format, w.up.weight.size(1)) +
         concatenated_panels({w.down.weight}) * panel_bytes(format, w.down.weight.size(1));
}

void set_norms(EngineLayer& layer, const NormSpec& spec, const BlockWeights& w) {
  layer.mixer_norm = {spec, w.mixer_norm};
  layer.mixer_post_norm = {spec, w.mixer_post_norm};
  layer.mlp_norm = {spec, w.mlp_norm};
  layer.mlp_post_norm = {spec, w.mlp_post_norm};
  layer.query_norm = {spec, w.query_norm};
  layer.key_norm = {spec, w.key_norm};
}

EngineLayer pack_layer(PanelArena& arena, WeightFormat format, const BlockSpec& spec,
                       const BlockWeights& w) {
  const auto& [norm, placement, parallel, mixer, mlp] = spec;
  EngineLayer layer = {.attend = std::get<Attend>(mixer),
                       .dense = std::get<Dense>(mlp),
                       .placement = placement,
                       .parallel = parallel,
                       .mixer_norm = {},
                       .mixer_post_norm = {},
                       .mlp_norm = {},
                       .mlp_post_norm = {},
                       .query_norm = {},
                       .key_norm = {},
                       .qkv_bias = joined_bias({w.query, w.key, w.value}),
                       .output_bias = host_floats(w.output.bias),
                       .gate_bias = host_floats(w.gate.bias),
                       .up_bias = host_floats(w.up.bias),
                       .down_bias = host_floats(w.down.bias),
                       .qkv = {},
                       .output = {},
                       .gate_up = {},
                       .down = {}};
  set_norms(layer, norm, w);
  layer.qkv = pack_concatenated(arena, format, {w.query.weight, w.key.weight, w.value.weight});
  layer.output = pack_concatenated(arena, format, {w.output.weight});
  layer.gate_up = pack_gate_up(arena, format, w.gate.weight, w.up.weight);
  layer.down = pack_concatenated(arena, format, {w.down.weight});
  return layer;
}

namespace {

// An adapter of matrices that one product computes together, on its way into panels.
struct JoinedRows {
  std::vector<at::Tensor> a;        // those that are there, one under the other
  std::vector<at::Tensor> b;        // [out_i, all ranks] of every matrix
  std::vector<at::Tensor> factors;  // [out_i] of every matrix, where any has one
};

JoinedRows joined_rows(const std::vector<std::pair<LowRank, at::Tensor>>& parts) {
  JoinedRows joined;
  int64_t ranks = 0;
  bool scaled = false;
  for (const auto& [rows, weight] : parts) {
    if (rows.a.defined()) ranks += rows.a.size(0);
    scaled = scaled || rows.factor.defined();
  }
  if (ranks == 0) return joined;
  int64_t at = 0;
  for (const auto& [rows, weight] : parts) {
    const at::TensorOptions floats(at::kFloat);
    at::Tensor b = at::zeros({weight.size(0), ranks}, floats);
    if (rows.a.defined()) {
      joined.a.push_back(rows.a);
      b.narrow(1, at, rows.a.size(0)).copy_(rows.b * rows.scale);
      at += rows.a.size(0);
    }
    joined.b.push_back(b);
    if (!scaled) continue;
    joined.factors.push_back(rows.factor.defined() ? rows.factor.to(at::kFloat)
                                                   : at::zeros({weight.size(0)}, floats) + 1);
  }
  return joined;
}

}  // namespace

EngineAdapter::EngineAdapter(const AdapterWeights& weights, const ModelSpec& spec,
                             const std::vector<BlockWeights>& blocks) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    const BlockWeights& w = blocks[i];
    const auto& [query, key, value, output, gate, up, down] = weights[i];
    const bool gated = spec.blocks[i].dense().gated;
    const JoinedRows joined[kJoints] = {
        joined_rows({{query, w.query.weight}, {key, w.key.weight}, {value, w.value.weight}}),
        joined_rows({{output, w.output.weight}}),
        gated ? joined_rows({{gate, w.gate.weight}, {up, w.up.weight}})
              : joined_rows({{up, w.up.weight}}),
        joined_rows({{down, w.down.weight}})};
    int64_t bytes = 0;
    for (const JoinedRows& j : joined) {
      if (j.a.empty()) continue;
      bytes += concatenated_panels(j.a) * panel_bytes(PanelFormat::f32, j.a[0].size(1)) +
               (concatenated_panels(j.b) + 1) * panel_bytes(PanelFormat::f32, j.b[0].size(1));
    }
    std::array<JointAdapter, kJoints>& layer = layers.emplace_back();
    if (bytes == 0) continue;
    PanelArena& arena = memory.emplace_back(bytes);
    for (int k = 0; k < kJoints; ++k) {
      const JoinedRows& j = joined[k];
      if (j.a.empty()) continue;
      const bool paired = k == static_cast<int>(Joint::gate_up) && gated;
      const auto pack = [&](const std::vector<at::Tensor>& parts) {
        return paired ? pack_paired(arena, WeightFormat::f32, parts[0], parts[1])
                      : pack_concatenated(arena, WeightFormat::f32, parts);
      };
      layer[k].a = pack_concatenated(arena, WeightFormat::f32, j.a);
      layer[k].b = pack(j.b);
      widest = std::max(widest, layer[k].a.stride_out());
      if (j.factors.empty()) continue;
      layer[k].factor =
          paired ? paired_values(j.factors[0], j.factors[1]) : host_floats(at::cat(j.factors));
      layer[k].factor.resize(layer[k].b.stride_out(), 1.0f);
    }
  }
}

}  // namespace continuo
