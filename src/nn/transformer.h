// The one Transformer that every family is built from: pre-norm blocks of grouped-query attention and a gated MLP over
// a float32 residual stream. What differs between families is in TransformerOptions.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "nn/decoder.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/rope.h"

namespace continuo {

struct TransformerOptions {
  int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0;
  int64_t vocabulary = 0;
  int64_t context = 0;  // longest document the model was made for; nothing is allocated by it
  double norm_epsilon = 1e-5;
  double rope_theta = 10000;
  bool tie_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
};

struct AttentionImpl : torch::nn::Module {
  explicit AttentionImpl(const TransformerOptions& options);
  // x: [N, hidden] → [N, hidden]
  at::Tensor forward(const at::Tensor& x, const RaggedInput& input, const RopeTable& rope, KVCache* cache, int64_t layer);

  Linear query{nullptr}, key{nullptr}, value{nullptr}, output{nullptr};
  int64_t heads, kv_heads, head_dim;
};
TORCH_MODULE(Attention);

struct MlpImpl : torch::nn::Module {
  explicit MlpImpl(const TransformerOptions& options);
  at::Tensor forward(const at::Tensor& x);  // [N, hidden] → [N, hidden]

  Linear gate{nullptr}, up{nullptr}, down{nullptr};
};
TORCH_MODULE(Mlp);

// The residual stream between sublayers: the sum so far and the last sublayer's output, which the next norm adds.
struct Stream {
  at::Tensor residual;  // [N, hidden] float32
  at::Tensor delta;     // [N, hidden] in the compute dtype, or undefined at the start
};

struct BlockImpl : torch::nn::Module {
  explicit BlockImpl(const TransformerOptions& options);
  Stream forward(const Stream& stream, const RaggedInput& input, const RopeTable& rope, KVCache* cache, int64_t layer,
                 at::ScalarType dtype);

  RmsNorm attention_norm{nullptr}, mlp_norm{nullptr};
  Attention attention{nullptr};
  Mlp mlp{nullptr};
};
TORCH_MODULE(Block);

class Transformer : public Decoder {
 public:
  explicit Transformer(const TransformerOptions& options);

  at::Tensor forward(const RaggedInput& input, KVCache* cache = nullptr) override;
  at::Tensor logits(const at::Tensor& rows) override;
  at::Tensor head_weight() override { return head_.defined() ? head_ : embedding_; }
  const at::Tensor& head_cast(at::ScalarType dtype) override;
  const DecoderShape& shape() const override { return shape_; }
  void set_compute(const ComputeOptions& options) override { compute_ = options; }
  const ComputeOptions& compute() const override { return compute_; }

  const TransformerOptions& options() const { return options_; }
  // Draws new weights: normal(0, 0.02), projections into the residual stream divided by sqrt(2·layers) (GPT-2), norms
  // one, biases zero. A function of the seed and the parameters' names alone.
  void initialise(int64_t seed);

 private:
  TransformerOptions options_;
  DecoderShape shape_;
  ComputeOptions compute_;
  at::Tensor embedding_;  // [V, hidden]
  at::Tensor head_;       // [V, hidden], undefined when tied to the embedding
  CastCache head_cast_;
  std::vector<Block> blocks_;
  RmsNorm norm_{nullptr};
  RopeTable rope_;
};

}  // namespace continuo
