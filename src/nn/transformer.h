// The modules that every family is built from: blocks of a mixer and an MLP over a float32 residual
// stream, as a ModelSpec describes them. For training, on any device; with cached sequences they
// also are the reference of every engine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/convolution.h"
#include "nn/decoder.h"
#include "nn/kv_cache.h"
#include "nn/linear.h"
#include "nn/mixture.h"
#include "nn/mlp.h"
#include "nn/model_weights.h"
#include "nn/norm.h"
#include "nn/ragged_attention.h"
#include "nn/rope.h"
#include "nn/rope_tables.h"

namespace continuo {

struct AttentionImpl : torch::nn::Module {
  AttentionImpl(int64_t hidden, const Attend& spec, const NormSpec& norm, int64_t layer);
  // x: [N, hidden] → [N, hidden]. `rotation` is ignored in a layer that does not rotate.
  at::Tensor forward(const at::Tensor& x, const RaggedInput& input, const Rotation& rotation,
                     const CachedSequences* cached);

  Linear query{nullptr}, key{nullptr}, value{nullptr}, output{nullptr};
  Norm query_norm{nullptr}, key_norm{nullptr};
  int64_t heads, kv_heads, head_dim;

 private:
  // Projected queries or keys [N, count · head_dim] → normalised and rotated [N, count, head_dim].
  at::Tensor prepare(const at::Tensor& x, int64_t count, Norm& norm, const Rotation& rotation);

  int64_t layer_;
  bool rotates_;
  QkNorm qk_norm_;
  AttendOptions attend_;
};
TORCH_MODULE(Attention);

// The residual stream between sublayers: the sum so far and the last sublayer's output, which the
// next norm adds.
struct Stream {
  at::Tensor residual;  // [N, hidden] float32
  at::Tensor delta;     // [N, hidden] in the compute dtype, or undefined at the start
};

struct BlockImpl : torch::nn::Module {
  BlockImpl(int64_t hidden, const BlockSpec& spec, int64_t layer);
  Stream forward(const Stream& stream, const RaggedInput& input, const Rotation& rotation,
                 const CachedSequences* cached, at::ScalarType dtype);

  Norm attention_norm{nullptr}, attention_post_norm{nullptr}, mlp_norm{nullptr},
      mlp_post_norm{nullptr};
  Attention attention{nullptr};  // or
  Convolution convolution{nullptr};
  Mlp mlp{nullptr};  // or
  Mixture mixture{nullptr};

 private:
  at::Tensor mix(const at::Tensor& x, const RaggedInput& input, const Rotation& rotation,
                 const CachedSequences* cached);

  bool parallel_;
};
TORCH_MODULE(Block);

class Transformer : public Decoder {
 public:
  // The matrices are unset (nn/unset_parameter.h) until `initialise` or a loader gives them values.
  explicit Transformer(const ModelSpec& spec);

  // Error: a document longer than the learned positions.
  at::Tensor forward(const RaggedInput& input) override { return run(input, nullptr); }
  // Documents that continue cached sequences, whose tokens are committed. Without gradients.
  at::Tensor forward_cached(const RaggedInput& input, const CachedSequences& cached) {
    return run(input, &cached);
  }
  at::Tensor logits(const at::Tensor& rows) override;
  Head head(at::ScalarType dtype) override;
  at::Tensor head_weight() const { return head_.defined() ? head_ : embedding_; }  // [V, hidden]
  const ModelSpec& spec() const override { return spec_; }
  void set_compute(const ComputeOptions& options) override { compute_ = options; }
  const ComputeOptions& compute() const override { return compute_; }

  void set_weight_gate(WeightGate* gate) override { gate_ = gate; }
  std::vector<std::vector<at::Tensor>> parts() const override;  // embedding, blocks, head

  at::Device device() const override { return embedding_.device(); }
  // The weights as executors take them; adapters are left out.
  ModelWeights weights() const;
  // Tables of positions up to this length stay where they are from now on.
  void reserve_positions(int64_t length) { rope_.reserve(length, device()); }
  // By its name, where each parameter that may stay in its file says that it did: one that is set
  // here is unset among the parameters, and served all the same. Modules read it anew for every
  // product.
  std::map<std::string, WeightMatrix*> stored_matrices();
  void read_stored(const std::vector<at::Tensor>& parameters,
                   std::optional<at::ScalarType> dtype) override;
  // All of them, as they are stored.
  void read_stored() { read_stored(parameters(), {}); }
  // Every linear layer, and its place among a model's weights.
  struct LinearSlot {
    MatrixPlace place;
    LinearImpl* layer;
  };
  std::vector<LinearSlot> linear_slots() const;
  // What adapters of its layers do, or nothing where no layer has one.
  std::optional<AdapterWeights> adapter_weights() const;
  // Draws new weights: normal(0, 0.02), projections into the residual stream divided by
  // sqrt(2·layers) (GPT-2), norms one, biases zero. A function of the seed and the parameters'
  // names alone.
  void initialise(int64_t seed);
  // The same on `device`, but matrices stay unset, and are drawn whole whenever some of their rows
  // are read.
  void initialise_when_read(int64_t seed, at::Device device);

 private:
  at::Tensor run(const RaggedInput& input, const CachedSequences* cached);
  at::Tensor embed(const RaggedInput& input, const std::vector<int64_t>& lengths);
  at::Tensor leave_blocks(const Stream& stream);
  Stream through_block(size_t block, const Stream& stream, const RaggedInput& input,
                       const Rotation& rotation, const CachedSequences* cached);

  ModelSpec spec_;
  ComputeOptions compute_;
  at::Tensor embedding_;  // [V, hidden]
  at::Tensor positions_;  // [context, hidden], learned, or undefined
  at::Tensor head_;       // [V, hidden], undefined when tied to the embedding
  WeightMatrix stored_embedding_, stored_head_;
  CastCache head_cast_;
  std::vector<Block> blocks_;
  Norm norm_{nullptr};
  RopeTables rope_;
  WeightGate* gate_ = nullptr;
};

}  // namespace continuo
