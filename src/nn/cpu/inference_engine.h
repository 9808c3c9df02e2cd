// The forward pass of decoding on the CPU: a whole step in one parallel region over packed weights
// (packed_matrix.h). Activations are float32 whatever the weights are. A row's bits depend on its
// document alone: not on the other rows, the number of threads, or whether its document's tokens
// came one by one or together.
#pragma once

#include <vector>

#include "nn/cpu/inference_pass.h"
#include "nn/cpu/packed_matrix.h"
#include "nn/cpu/team.h"
#include "nn/decode_engine.h"
#include "nn/transformer_options.h"

namespace continuo {

class InferenceEngine : public DecodeEngine {
 public:
  // Llama's shape with what Mistral, Qwen, SmolLM3 and Phi-3 add to it. Others go through the
  // general modules.
  static bool covers(const TransformerOptions& options);
  InferenceEngine(const TransformerOptions& options, const EngineWeights& weights,
                  WeightFormat format);

  at::Tensor forward(const at::Tensor& embedded, const RaggedInput& input, const Rotation& far,
                     const Rotation& near, KVCache& cache) override;
  at::Tensor logits(const at::Tensor& hidden) override;
  at::Tensor head() const override { return unpack(head_, options_.vocabulary); }
  int64_t weight_bytes() const override;

 private:
  struct Layer {
    std::vector<float> attention_norm, mlp_norm, query_norm, key_norm;
    std::vector<float> qkv_bias, output_bias, gate_bias, up_bias, down_bias;
    PackedMatrix qkv, output, gate_up, down;
    bool rotates, windowed;
  };
  using Pass = InferencePass;
  using Row = Pass::Row;
  using Span = Pass::Span;
  struct Scratch {  // a member's own
    PackedScratch rows;
    std::vector<float> normalised, query, scores;
  };

  std::vector<Span> spans(const std::vector<Row>& rows, int64_t window) const;
  void run(Pass& pass, const Team::Member& member);
  void fit_scratch(int64_t values);  // of the rows of one product
  Ahead share(const PackedMatrix& w, const Team::Member& member) const;
  template <class MakeRow>
  PackedInput gather(const PackedMatrix& w, int64_t rows, const float* x, PackedScratch& own,
                     const Team::Member& member, const MakeRow& make);
  void normalise(const std::vector<float>& weight, int64_t row, float* out) const;
  void rotate(const Pass& pass, const Layer& layer, int64_t row, const std::vector<float>& norm,
              float* x) const;
  template <class T>
  void write_key(const Pass& pass, int64_t layer, int64_t row, int64_t head, float* key,
                 const float* value) const;
  template <class T>
  void attend(Pass& pass, int64_t layer, Scratch& scratch, const Team::Member& member);
  void merge_spans(const std::vector<Span>& spans, int64_t stride, const Team::Member& member);
  void add(const Pass& pass, const PackedMatrix& w, const std::vector<float>& bias, int64_t begin,
           int64_t end);
  void multiply_gate(const Pass& pass, const Layer& layer, int64_t begin, int64_t end);

  TransformerOptions options_;
  float scale_;
  PanelArena arena_;
  std::vector<Layer> layers_;
  std::vector<float> norm_;
  PackedMatrix head_;
  std::vector<Scratch> scratch_;
  PackedScratch shared_;  // rows of a pass of many, converted by all members together
  // These keep their memory from pass to pass.
  std::vector<float> residual_, normalised_, qkv_, attended_, gate_up_, product_, result_, partial_;
  std::vector<AttentionPart> parts_;
};

}  // namespace continuo
