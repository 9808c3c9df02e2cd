// What the CPU's engine holds of a block: its spec, norms and biases, which of the engine's packed
// matrices are its, and the adapters on top of them. For the engine's own files only.
#pragma once

#include <cstdint>
#include <span>
#include <variant>
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

// Matrices that one product computes together: one under the other, or, two of them, in pairs of
// half panels.
struct Joint {
  std::vector<MatrixPlace> parts;
  bool paired = false;
};

// All of a model, block by block: the mixer's first and last product; then the router, where there
// is one; then for each MLP the product that its activation reads, and the one back.
std::vector<Joint> joints_of(const ModelSpec& spec);

// A number is an index into what joints_of gives.
struct EngineAttend {
  Attend spec;
  EngineNorm query_norm, key_norm;
};
struct EngineConvolve {
  Convolve spec;
  std::vector<float> kernel, bias;  // [K, hidden]; [hidden] or empty
};
struct EngineDense {
  Dense spec;
  std::vector<float> gate_bias, up_bias, down_bias;
  int64_t in, out;
};
struct EngineExperts {
  Experts spec;
  int64_t router;
  std::vector<EngineDense> experts;
};

struct EngineLayer {
  NormPlacement placement;
  bool parallel;
  EngineNorm mixer_norm, mixer_post_norm, mlp_norm, mlp_post_norm;
  std::variant<EngineAttend, EngineConvolve> mixer;
  std::vector<float> in_bias, out_bias;  // of the mixer
  int64_t in, out;
  std::variant<EngineDense, EngineExperts> mlp;

  const EngineAttend& attend() const { return std::get<EngineAttend>(mixer); }
  // Its MLP, or the MLPs of its experts.
  std::span<const EngineDense> mlps() const;
};

std::vector<EngineLayer> engine_layers(const ModelSpec& spec, const std::vector<Joint>& joints,
                                       const ModelWeights& weights);
void set_norms(EngineLayer& layer, const NormSpec& spec, const BlockWeights& weights);

PanelRows joint_rows(const Joint& joint, const ModelWeights& weights);

// An adapter of a joint: y = (base + B·(A·x)) · factor, the ranks of all its matrices one under the
// other; float32 panels whatever the base's are.
struct JointAdapter {
  PackedMatrix a, b;
  std::vector<float> factor;  // [stride_out] in the panels' order, or empty

  explicit operator bool() const { return a.panels > 0; }
};

class EngineAdapter {
 public:
  EngineAdapter(const AdapterWeights& adapter, const std::vector<Joint>& joints,
                const ModelWeights& weights);

  const JointAdapter& joint(int64_t index) const { return joints_[index]; }
  int64_t widest() const { return widest_; }  // the largest stride of A's results

 private:
  JointAdapter pack(const AdapterWeights& adapter, const Joint& joint, const ModelWeights& weights);

  std::vector<PanelArena> memory_;  // of each joint's panels
  std::vector<JointAdapter> joints_;
  int64_t widest_ = 0;
};

}  // namespace continuo
