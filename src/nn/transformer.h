// The one Transformer that every family is built from: blocks of grouped-query attention and an MLP over a float32
// residual stream. What differs between families is in TransformerOptions; the defaults are Llama's.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "nn/decoder.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/ragged_attention.h"
#include "nn/rope.h"

namespace continuo {

enum class QkNorm { none, head, whole };  // RMSNorm of queries and keys: none, per head, over all heads together

struct TransformerOptions {
  int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0;
  int64_t vocabulary = 0;
  int64_t context = 0;  // longest document the model was made for; only learned positions take memory by it
  double norm_epsilon = 1e-5;
  double rope_theta = 10000;
  bool tie_embeddings = false;
  bool attention_bias = false;  // of queries, keys and values
  bool mlp_bias = false;
  bool output_bias = false;     // of attention's output projection

  bool layer_norm = false;      // LayerNorm with bias instead of RMSNorm
  bool norm_plus_one = false;   // norms multiply by weight + 1
  bool pre_norm = true;         // norms before the sublayers
  bool post_norm = false;       // norms of the sublayers' outputs, before they are added
  bool parallel = false;        // attention and MLP both read the block's input
  QkNorm qk_norm = QkNorm::none;
  Activation activation = Activation::silu;
  bool gated = true;            // activation(gate) · up; else activation(up)

  bool learned_positions = false;  // added to the embedding, instead of rotation
  int64_t rotary_dim = 0;          // rotated dimensions of a head; 0 = all
  RopeScaling rope_scaling = {};
  double local_rope_theta = 0;     // of layers with a window, unscaled; 0 = as the others
  std::vector<bool> unrotated = {};  // per layer: no rotation; empty = every layer rotates
  int64_t window = 0;              // sliding window in tokens; 0 = none
  std::vector<bool> windowed = {};   // per layer: the window holds; empty = in every layer

  double embedding_scale = 1;
  double attention_scale = 0;  // of the scores; 0 = 1/sqrt(head_dim)
  double attention_softcap = 0, logit_softcap = 0;  // c · tanh(x / c); 0 = none

  bool has_window(int64_t layer) const { return window > 0 && (windowed.empty() || windowed[layer]); }
  bool rotates(int64_t layer) const { return !learned_positions && (unrotated.empty() || !unrotated[layer]); }
  NormOptions norm() const { return {.centred = layer_norm, .plus_one = norm_plus_one, .epsilon = norm_epsilon}; }
  bool operator==(const TransformerOptions&) const = default;
};

struct AttentionImpl : torch::nn::Module {
  AttentionImpl(const TransformerOptions& options, int64_t layer);
  // x: [N, hidden] → [N, hidden]. `rotation` is ignored in a layer that does not rotate.
  at::Tensor forward(const at::Tensor& x, const RaggedInput& input, const Rotation& rotation, KVCache* cache);

  Linear query{nullptr}, key{nullptr}, value{nullptr}, output{nullptr};
  Norm query_norm{nullptr}, key_norm{nullptr};
  int64_t heads, kv_heads, head_dim;

 private:
  // Projected queries or keys [N, count · head_dim] → normalised and rotated [N, count, head_dim].
  at::Tensor prepare(const at::Tensor& x, int64_t count, Norm& norm, const Rotation& rotation);

  int64_t layer_;
  bool rotates_;
  QkNorm qk_norm_;
  double scale_;
  AttentionLimits limits_;
};
TORCH_MODULE(Attention);

// The residual stream between sublayers: the sum so far and the last sublayer's output, which the next norm adds.
struct Stream {
  at::Tensor residual;  // [N, hidden] float32
  at::Tensor delta;     // [N, hidden] in the compute dtype, or undefined at the start
};

struct BlockImpl : torch::nn::Module {
  BlockImpl(const TransformerOptions& options, int64_t layer);
  Stream forward(const Stream& stream, const RaggedInput& input, const Rotation& rotation, KVCache* cache,
                 at::ScalarType dtype);

  Norm attention_norm{nullptr}, attention_post_norm{nullptr}, mlp_norm{nullptr}, mlp_post_norm{nullptr};
  Attention attention{nullptr};
  Mlp mlp{nullptr};

 private:
  bool parallel_;
};
TORCH_MODULE(Block);

class Transformer : public Decoder {
 public:
  explicit Transformer(const TransformerOptions& options);

  // Error: a document longer than the learned positions.
  at::Tensor forward(const RaggedInput& input, KVCache* cache = nullptr) override;
  at::Tensor logits(const at::Tensor& rows) override;
  at::Tensor head_weight() override { return head_.defined() ? head_ : embedding_; }
  const at::Tensor& head_cast(at::ScalarType dtype) override;
  double logit_softcap() const override { return options_.logit_softcap; }
  const DecoderShape& shape() const override { return shape_; }
  void set_compute(const ComputeOptions& options) override { compute_ = options; }
  const ComputeOptions& compute() const override { return compute_; }

  const TransformerOptions& options() const { return options_; }
  // Draws new weights: normal(0, 0.02), projections into the residual stream divided by sqrt(2·layers) (GPT-2), norms
  // one, biases zero. A function of the seed and the parameters' names alone.
  void initialise(int64_t seed);

 private:
  at::Tensor embed(const RaggedInput& input, int64_t longest);  // → [N, hidden] float32

  TransformerOptions options_;
  DecoderShape shape_;
  ComputeOptions compute_;
  at::Tensor embedding_;  // [V, hidden]
  at::Tensor positions_;  // [context, hidden], learned, or undefined
  at::Tensor head_;       // [V, hidden], undefined when tied to the embedding
  CastCache head_cast_;
  std::vector<Block> blocks_;
  Norm norm_{nullptr};
  RopeTable rope_, local_rope_;
};

}  // namespace continuo
