#include "nn/transformer.h"

#include <cmath>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/normal.h>
#include <c10/core/GradMode.h>

#include "core/hash.h"
#include "nn/ragged_attention.h"
#include "nn/recompute.h"
#include "nn/swiglu.h"

namespace continuo {

AttentionImpl::AttentionImpl(const TransformerOptions& o)
    : heads(o.heads), kv_heads(o.kv_heads), head_dim(o.head_dim) {
  query = register_module("query", Linear(o.hidden, heads * head_dim, o.attention_bias));
  key = register_module("key", Linear(o.hidden, kv_heads * head_dim, o.attention_bias));
  value = register_module("value", Linear(o.hidden, kv_heads * head_dim, o.attention_bias));
  output = register_module("output", Linear(heads * head_dim, o.hidden, o.attention_bias));
}

at::Tensor AttentionImpl::forward(const at::Tensor& x, const RaggedInput& input, const RopeTable& rope,
                                  KVCache* cache, int64_t layer) {
  const at::Tensor q = rotate(query(x).view({-1, heads, head_dim}), input.positions, rope);
  const at::Tensor k = rotate(key(x).view({-1, kv_heads, head_dim}), input.positions, rope);
  const at::Tensor v = value(x).view({-1, kv_heads, head_dim});
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  const at::Tensor attended = cache ? cached_attention(q, k, v, input.boundaries, scale, *cache, layer)
                                    : ragged_attention(q, k, v, input.boundaries, scale);
  return output(attended.reshape({-1, heads * head_dim}));
}

MlpImpl::MlpImpl(const TransformerOptions& o) {
  gate = register_module("gate", Linear(o.hidden, o.intermediate, o.mlp_bias));
  up = register_module("up", Linear(o.hidden, o.intermediate, o.mlp_bias));
  down = register_module("down", Linear(o.intermediate, o.hidden, o.mlp_bias));
}

at::Tensor MlpImpl::forward(const at::Tensor& x) { return swiglu_linear(gate(x), up(x), *down); }

BlockImpl::BlockImpl(const TransformerOptions& o) {
  attention_norm = register_module("attention_norm", RmsNorm(o.hidden, o.norm_epsilon));
  attention = register_module("attention", Attention(o));
  mlp_norm = register_module("mlp_norm", RmsNorm(o.hidden, o.norm_epsilon));
  mlp = register_module("mlp", Mlp(o));
}

Stream BlockImpl::forward(const Stream& stream, const RaggedInput& input, const RopeTable& rope, KVCache* cache,
                          int64_t layer, at::ScalarType dtype) {
  const NormOutput before = attention_norm(stream.residual, stream.delta, dtype);
  const at::Tensor attended = attention(before.normalised, input, rope, cache, layer);
  const NormOutput between = mlp_norm(before.residual, attended, dtype);
  return {between.residual, mlp(between.normalised)};
}

Transformer::Transformer(const TransformerOptions& options)
    : options_(options), rope_({.dim = options.head_dim, .theta = options.rope_theta}) {
  shape_ = {.layers = options.layers, .hidden = options.hidden, .heads = options.heads, .kv_heads = options.kv_heads,
            .head_dim = options.head_dim, .vocabulary = options.vocabulary, .context = options.context};
  embedding_ = register_parameter("embedding", at::empty({options.vocabulary, options.hidden}));
  for (int64_t i = 0; i < options.layers; ++i) {
    blocks_.push_back(register_module("blocks_" + std::to_string(i), Block(options)));
  }
  norm_ = register_module("norm", RmsNorm(options.hidden, options.norm_epsilon));
  if (!options.tie_embeddings) {
    head_ = register_parameter("head", at::empty({options.vocabulary, options.hidden}));
  }
}

at::Tensor Transformer::forward(const RaggedInput& input, KVCache* cache) {
  // Positions are bounded by what the input can hold: no look at the device's values.
  int64_t longest = 0;
  for (int64_t d = 0; d < input.documents(); ++d) {
    const int64_t past = cache ? cache->length(cache->active()[d]) : 0;
    longest = std::max(longest, past + input.length(d));
    if (cache) cache->reserve(cache->active()[d], input.length(d));
  }
  rope_.ensure(longest, embedding_.device());

  Stream stream;
  stream.residual = at::embedding(embedding_, input.tokens).to(at::kFloat);
  // Recomputation passes gradients on only where an input asks for them; a frozen embedding does not (nn/lora.h).
  if (compute_.recompute && c10::GradMode::is_enabled() && !stream.residual.requires_grad()) {
    stream.residual.set_requires_grad(true);
  }
  for (size_t i = 0; i < blocks_.size(); ++i) {
    // By value: with recomputation the function outlives this call.
    const TensorFunction block = [this, i, input, cache](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
      const Stream result = blocks_[i]->forward({in[0], in.size() > 1 ? in[1] : at::Tensor()}, input, rope_, cache,
                                                static_cast<int64_t>(i), compute_.dtype);
      return {result.residual, result.delta};
    };
    std::vector<at::Tensor> inputs = {stream.residual};
    if (stream.delta.defined()) inputs.push_back(stream.delta);
    const std::vector<at::Tensor> out = compute_.recompute && !cache ? recompute(block, inputs) : block(inputs);
    stream = {out[0], out[1]};
  }
  if (cache) {
    for (int64_t d = 0; d < input.documents(); ++d) cache->commit(cache->active()[d], input.length(d));
  }
  return norm_(stream.residual, stream.delta, compute_.dtype).normalised;
}

const at::Tensor& Transformer::head_cast(at::ScalarType dtype) {
  return head_cast_.get(head_.defined() ? head_ : embedding_, dtype);
}

at::Tensor Transformer::logits(const at::Tensor& rows) {
  return linear(rows, head_weight(), head_cast(rows.scalar_type()), {}).to(at::kFloat);
}

void Transformer::initialise(int64_t seed) {
  const c10::NoGradGuard no_grad;
  constexpr double kStd = 0.02;
  const double into_residual = kStd / std::sqrt(2.0 * static_cast<double>(options_.layers));
  for (const auto& item : named_parameters()) {
    const std::string& name = item.key();
    const at::Tensor& parameter = item.value();
    if (parameter.dim() < 2) {
      parameter.fill_(name.ends_with("bias") ? 0.0 : 1.0);
      continue;
    }
    // A generator per parameter: adding a layer leaves the others' draws as they are.
    const uint64_t key = static_cast<uint64_t>(seed) ^ std::stoull(hash_bytes(name).substr(0, 16), nullptr, 16);
    at::Generator generator = at::detail::createCPUGenerator(key);
    const bool projection = name.ends_with("output.weight") || name.ends_with("down.weight");
    parameter.copy_(at::normal(0.0, projection ? into_residual : kStd, parameter.sizes(), generator));
  }
}

}  // namespace continuo
