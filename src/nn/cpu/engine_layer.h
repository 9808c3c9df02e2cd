// What the CPU's engine holds of a block: its spec, packed matrices, norms, and the adapters on top
// of the matrices. For the engine's own files only.
#pragma once

#include <vector>

#include "nn/cpu/packed_matrix.h"
#include "nn/model_spec.h"
#include "nn/model_weights.h"

namespace continuo {

std::vector<float> host_floats(const at::Tensor& tensor);  // empty where undefined

struct EngineNorm {
  NormSpec spec;
  std::vector<float> factor, bias;

  EngineNorm() = default;
  EngineNorm(const NormSpec& spec, const NormWeights& weights);
  explicit operator bool() const { return !factor.empty(); }
  void apply(int64_t n, const float* x, float* y) const;  // one row; y may be x
};

// The matrices that one product computes together, in the panels' order.
enum class Joint { qkv, output, gate_up, down };
inline constexpr int kJoints = 4;

struct EngineLayer {
  Attend attend;
  Dense dense;
  NormPlacement placement;
  bool parallel;
  EngineNorm mixer_norm, mixer_post_norm, mlp_norm, mlp_post_norm, query_norm, key_norm;
  std::vector<float> qkv_bias, output_bias, gate_bias, up_bias, down_bias;
  PackedMatrix qkv, output, gate_up, down;

  const PackedMatrix& matrix(Joint joint) const {
    const PackedMatrix* const all[] = {&qkv, &output, &gate_up, &down};
    return *all[static_cast<int>(joint)];
  }
};

// Room for all panels of a block, compressed or not.
int64_t layer_bytes(const BlockWeights& weights, PanelFormat format);
// Takes the panels' memory from the arena.
EngineLayer pack_layer(PanelArena& arena, WeightFormat format, const BlockSpec& spec,
                       const BlockWeights& weights);

void set_norms(EngineLayer& layer, const NormSpec& spec, const BlockWeights& weights);

// An adapter of joint matrices: y = (base + B·(A·x)) · factor, the ranks of all of them one under
// the other; float32 panels whatever the base's are.
struct JointAdapter {
  PackedMatrix a, b;
  std::vector<float> factor;  // [stride_out] in the panels' order, or empty

  explicit operator bool() const { return a.panels > 0; }
};

struct EngineAdapter {
  EngineAdapter(const AdapterWeights& weights, const ModelSpec& spec,
                const std::vector<BlockWeights>& blocks);

  std::vector<PanelArena> memory;  // of each layer's panels
  std::vector<std::array<JointAdapter, kJoints>> layers;
  int64_t widest = 0;  // the largest stride of A's results
};

}  // namespace continuo
