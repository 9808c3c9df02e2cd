#include "nn/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/tanh.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "nn/backend.h"
#include "nn/on_backward.h"
#include "nn/recompute.h"
#include "nn/unset_parameter.h"
#include "nn/upload.h"

namespace continuo {

AttentionImpl::AttentionImpl(int64_t hidden, const Attend& spec, const NormSpec& norm,
                             int64_t layer)
    : layer_(layer) {
  const auto& [q_heads, k_heads, dim, window, scale, softcap, rotary, qk_norm, biases,
               output_bias] = spec;
  heads = q_heads;
  kv_heads = k_heads;
  head_dim = dim;
  rotates_ = rotary.has_value();
  qk_norm_ = qk_norm;
  attend_ = {.scale = spec.score_scale(), .window = window, .softcap = softcap};
  query = register_module("query", Linear(hidden, heads * dim, biases));
  key = register_module("key", Linear(hidden, kv_heads * dim, biases));
  value = register_module("value", Linear(hidden, kv_heads * dim, biases));
  output = register_module("output", Linear(heads * dim, hidden, output_bias));
  if (qk_norm == QkNorm::none) return;
  const bool whole = qk_norm == QkNorm::whole;
  query_norm = register_module("query_norm", Norm(whole ? heads * dim : dim, norm));
  key_norm = register_module("key_norm", Norm(whole ? kv_heads * dim : dim, norm));
}

at::Tensor AttentionImpl::prepare(const at::Tensor& x, int64_t count, Norm& norm,
                                  const Rotation& rotation) {
  at::Tensor y = x;
  if (qk_norm_ == QkNorm::whole) y = norm->apply_to(y);
  if (qk_norm_ == QkNorm::head) y = norm->apply_to(y.reshape({-1, head_dim}));
  y = y.view({-1, count, head_dim});
  return rotates_ ? rotate(y, rotation) : y;
}

at::Tensor AttentionImpl::forward(const at::Tensor& x, const RaggedInput& input,
                                  const Rotation& rotation, const CachedSequences* cached) {
  const at::Tensor q = prepare(query(x), heads, query_norm, rotation);
  const at::Tensor k = prepare(key(x), kv_heads, key_norm, rotation);
  const at::Tensor v = value(x).view({-1, kv_heads, head_dim});
  const AttendInput in = {q, k, v, input.boundaries, attend_, input.offsets};
  const at::Tensor attended = cached ? cached_attention(in, *cached, layer_) : ragged_attention(in);
  return output(attended.reshape({-1, heads * head_dim}));
}

BlockImpl::BlockImpl(int64_t hidden, const BlockSpec& spec, int64_t layer) {
  const auto& [norm, placement, parallel, mixer, mlp_spec] = spec;
  parallel_ = parallel;
  const auto norm_named = [&](const char* name) {
    return register_module(name, Norm(hidden, norm));
  };
  const bool before = placement != NormPlacement::after, after = placement != NormPlacement::before;
  if (before) attention_norm = norm_named("attention_norm");
  if (const auto* attend = std::get_if<Attend>(&mixer)) {
    attention = register_module("attention", Attention(hidden, *attend, norm, layer));
  } else {
    const Convolve& convolve = std::get<Convolve>(mixer);
    convolution = register_module("convolution", Convolution(hidden, convolve, layer));
  }
  if (after) attention_post_norm = norm_named("attention_post_norm");
  if (before) mlp_norm = norm_named("mlp_norm");
  if (const auto* dense = std::get_if<Dense>(&mlp_spec)) {
    mlp = register_module("mlp", Mlp(hidden, *dense));
  } else {
    mixture = register_module("mixture", Mixture(hidden, std::get<Experts>(mlp_spec)));
  }
  if (after) mlp_post_norm = norm_named("mlp_post_norm");
}

namespace {

// What a sublayer reads: the stream's sum, normalised where the family has a norm there.
NormOutput enter(Norm& norm, const at::Tensor& residual, const at::Tensor& delta,
                 at::ScalarType dtype) {
  if (norm) return norm(residual, delta, dtype);
  const at::Tensor sum = delta.defined() ? residual + delta : residual;
  return {sum, sum.to(dtype)};
}

at::Tensor leave(Norm& norm, const at::Tensor& x) { return norm ? norm->apply_to(x) : x; }

}  // namespace

at::Tensor BlockImpl::mix(const at::Tensor& x, const RaggedInput& input, const Rotation& rotation,
                          const CachedSequences* cached) {
  return attention ? attention(x, input, rotation, cached) : convolution(x, input, cached);
}

Stream BlockImpl::forward(const Stream& stream, const RaggedInput& input, const Rotation& rotation,
                          const CachedSequences* cached, at::ScalarType dtype) {
  const auto through_mlp = [&](const at::Tensor& x) {
    return leave(mlp_post_norm, mlp ? mlp(x) : mixture(x));
  };
  const NormOutput before = enter(attention_norm, stream.residual, stream.delta, dtype);
  const at::Tensor mixed =
      leave(attention_post_norm, mix(before.normalised, input, rotation, cached));
  if (parallel_) {
    const NormOutput beside = enter(mlp_norm, before.residual, {}, dtype);
    return {before.residual, mixed + through_mlp(beside.normalised)};
  }
  const NormOutput between = enter(mlp_norm, before.residual, mixed, dtype);
  return {between.residual, through_mlp(between.normalised)};
}

Transformer::Transformer(const ModelSpec& spec) : spec_(spec), rope_(spec) {
  const auto& [context, embedding, blocks, norm, head] = spec_;
  const int64_t vocabulary = embedding.vocabulary, hidden = embedding.hidden;
  embedding_ = register_parameter("embedding", unset_parameter({vocabulary, hidden}));
  if (embedding.positions > 0) {
    positions_ = register_parameter("positions", unset_parameter({embedding.positions, hidden}));
  }
  for (int64_t i = 0; i < spec.layers(); ++i) {
    blocks_.push_back(register_module("blocks_" + std::to_string(i), Block(hidden, blocks[i], i)));
  }
  norm_ = register_module("norm", Norm(hidden, norm));
  if (!head.tied) head_ = register_parameter("head", unset_parameter({vocabulary, hidden}));
}

std::vector<std::vector<at::Tensor>> Transformer::parts() const {
  std::vector<std::vector<at::Tensor>> parts = {{embedding_}};
  if (positions_.defined()) parts[0].push_back(positions_);
  for (const Block& block : blocks_) parts.push_back(block->parameters());
  parts.push_back({head_weight()});
  return parts;
}

namespace {

std::vector<at::Tensor> tensors_of(const Stream& stream) {
  std::vector<at::Tensor> tensors = {stream.residual};
  if (stream.delta.defined()) tensors.push_back(stream.delta);
  return tensors;
}

Stream stream_of(const std::vector<at::Tensor>& tensors) {
  return {tensors[0], tensors.size() > 1 ? tensors[1] : at::Tensor()};
}

}  // namespace

Stream Transformer::through_block(size_t block, const Stream& stream, const RaggedInput& input,
                                  const Rotation& rotation, const CachedSequences* cached) {
  const bool recomputes = compute_.recompute && !cached;
  // By value: with recomputation the function outlives this call.
  const TensorFunction pass = [this, block, input, rotation, cached,
                               recomputes](const std::vector<at::Tensor>& in) {
    const auto forward = [&](const std::vector<at::Tensor>& x) {
      return tensors_of(
          blocks_[block]->forward(stream_of(x), input, rotation, cached, compute_.dtype));
    };
    if (!gate_) return forward(in);
    WeightGate* const gate = gate_;
    const std::vector<at::Tensor> weights = blocks_[block]->parameters();
    gate->need(weights);
    if (!c10::GradMode::is_enabled()) {
      const std::vector<at::Tensor> out = forward(in);
      gate->leave(weights);
      return out;
    }
    const std::vector<at::Tensor> out =
        forward(on_backward(in, [gate, weights] { gate->complete(weights); }));
    if (recomputes) return out;  // its backward pass comes at once
    gate->leave(weights);
    return on_backward(out, [gate, weights] { gate->need(weights); });
  };
  const std::vector<at::Tensor> in = tensors_of(stream);
  return stream_of(recomputes ? recompute(pass, in) : pass(in));
}

// → [N, hidden] float32
at::Tensor Transformer::embed(const RaggedInput& input, const std::vector<int64_t>& lengths) {
  if (gate_) {
    gate_->begin();
    gate_->need({embedding_, positions_});
  }
  const at::Tensor rows = stored_embedding_.defined() ? gather_rows(stored_embedding_, input.tokens)
                                                      : at::embedding(embedding_, input.tokens);
  const at::Tensor embedded = embed_tokens(spec_, rows, positions_, input, lengths);
  if (gate_) gate_->leave({embedding_, positions_});
  return embedded;
}

// → [N, hidden] in the compute dtype, the head's weight there.
at::Tensor Transformer::leave_blocks(const Stream& stream) {
  if (gate_) gate_->need(norm_->parameters());
  const at::Tensor hidden = norm_(stream.residual, stream.delta, compute_.dtype).normalised;
  if (!gate_) return hidden;
  WeightGate* const gate = gate_;
  const std::vector<at::Tensor> head = {head_weight()};
  gate->need(head);
  if (!c10::GradMode::is_enabled() || !hidden.requires_grad()) return hidden;
  const bool tied = !head_.defined();  // then the embedding's gradient is still to come
  return on_backward({hidden},
                     [gate, head, tied] { tied ? gate->leave(head) : gate->complete(head); })[0];
}

at::Tensor Transformer::run(const RaggedInput& given, const CachedSequences* cached) {
  RaggedInput input = given;
  if (!input.offsets.defined()) input.offsets = offset_tensor(input.boundaries, device());
  // Positions are bounded by what the input can hold: no look at the device's values.
  const std::vector<int64_t> lengths = document_lengths(input, cached);
  Stream stream = {.residual = embed(input, lengths), .delta = {}};
  // Recomputation passes gradients on only where an input asks for them; a frozen embedding does
  // not (nn/adapters/lora.h).
  if (compute_.recompute && c10::GradMode::is_enabled() && !stream.residual.requires_grad()) {
    stream.residual.set_requires_grad(true);
  }
  for (int64_t d = 0; cached && d < input.documents(); ++d)
    cached->cache.prepare(cached->ids[d], input.length(d));
  const std::vector<Rotation> rotations = rope_.rotations(input, lengths);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    stream = through_block(i, stream, input, rope_.of(rotations, static_cast<int64_t>(i)), cached);
  }
  for (int64_t d = 0; cached && d < input.documents(); ++d)
    cached->cache.commit(cached->ids[d], input.length(d));
  return leave_blocks(stream);
}

Head Transformer::head(at::ScalarType dtype) {
  const WeightMatrix& stored = head_.defined() ? stored_head_ : stored_embedding_;
  const at::Tensor weight = head_weight();
  const auto product = [&]() -> ProductWeight {
    if (stored.defined()) return {stored, device()};
    const bool stays = !gate_ || !gate_->releases() || weight.scalar_type() == dtype;
    return stays ? ProductWeight(head_cast_.get(weight, dtype)) : ProductWeight(weight, device());
  };
  return {.weight = weight, .product = product(), .softcap = spec_.head.softcap};
}

at::Tensor Transformer::logits(const at::Tensor& rows) {
  const Head head = this->head(rows.scalar_type());
  const at::Tensor raw = linear(rows, head.weight, head.product, {}).to(at::kFloat);
  return head.softcap > 0 ? at::tanh(raw / head.softcap) * head.softcap : raw;
}

}  // namespace continuo
