// The one Transformer that every family is built from: blocks of grouped-query attention and an MLP
// over a float32 residual stream. What differs between families is in TransformerOptions; the
// defaults are Llama's.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "nn/decode_engine.h"
#include "nn/decoder.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/ragged_attention.h"
#include "nn/rope.h"
#include "nn/transformer_options.h"

namespace continuo {

struct AttentionImpl : torch::nn::Module {
  AttentionImpl(const TransformerOptions& options, int64_t layer);
  // x: [N, hidden] → [N, hidden]. `rotation` is ignored in a layer that does not rotate.
  at::Tensor forward(const at::Tensor& x, const RaggedInput& input, const Rotation& rotation,
                     KVCache* cache);

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
  BlockImpl(const TransformerOptions& options, int64_t layer);
  Stream forward(const Stream& stream, const RaggedInput& input, const Rotation& rotation,
                 KVCache* cache, at::ScalarType dtype);

  Norm attention_norm{nullptr}, attention_post_norm{nullptr}, mlp_norm{nullptr},
      mlp_post_norm{nullptr};
  Attention attention{nullptr};
  Mlp mlp{nullptr};

 private:
  bool parallel_;
};
TORCH_MODULE(Block);

class Transformer : public Decoder {
 public:
  // The matrices are unset (nn/unset_parameter.h) until `initialise` or a loader gives them values.
  explicit Transformer(const TransformerOptions& options);

  // A second model over the same parameters, with compute options of its own: to decode in fewer
  // bits beside this one.
  std::shared_ptr<Transformer> twin() const;

  // Error: a document longer than the learned positions.
  at::Tensor forward(const RaggedInput& input, KVCache* cache = nullptr) override;
  at::Tensor logits(const at::Tensor& rows) override;
  Head head(at::ScalarType dtype) override;
  at::Tensor head_weight() { return head_.defined() ? head_ : embedding_; }  // [V, hidden]
  const DecoderShape& shape() const override { return shape_; }
  // Error: 8- or 4-bit weights where the engine does not cover the model.
  void set_compute(const ComputeOptions& options) override;
  const ComputeOptions& compute() const override { return compute_; }

  ~Transformer() override;

  const TransformerOptions& options() const { return options_; }
  // What serves passes of decoding; nullptr as long as none went through it.
  const DecodeEngine* decode_engine() const { return engine_.get(); }
  // Bytes of weights that a decoding pass reads: every matrix of the blocks and the head once, in
  // the form in which it is held for that. Makes that form where no pass has yet.
  int64_t weight_bytes();
  // Draws new weights: normal(0, 0.02), projections into the residual stream divided by
  // sqrt(2·layers) (GPT-2), norms one, biases zero. A function of the seed and the parameters'
  // names alone.
  void initialise(int64_t seed);

 private:
  const at::Tensor& head_cast(at::ScalarType dtype);
  at::Tensor embed(const RaggedInput& input, int64_t longest);  // → [N, hidden] float32
  // The engine for a pass over `rows` rows without gradients, made when it is first asked for and
  // again when a weight has changed; nullptr where the general modules do it.
  DecodeEngine* engine(int64_t rows);
  bool engine_covers() const;
  bool quantised() const;

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
  std::unique_ptr<DecodeEngine> engine_;
  // Storage and version of every parameter that the engine packed.
  std::vector<std::pair<const void*, uint32_t>> engine_sources_;
  WeightFormat engine_format_ = WeightFormat::f32;
  at::Tensor engine_head_;  // of q8 and q4: the head's values as the engine sees them
};

}  // namespace continuo
