#include "nn/transformer.h"

#include <cmath>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/tanh.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "nn/backend.h"
#include "nn/invariant_rows.h"
#include "nn/recompute.h"
#include "nn/unset_parameter.h"

namespace continuo {

AttentionImpl::AttentionImpl(const TransformerOptions& o, int64_t layer)
    : heads(o.heads),
      kv_heads(o.kv_heads),
      head_dim(o.head_dim),
      layer_(layer),
      rotates_(o.rotates(layer)),
      qk_norm_(o.qk_norm),
      attend_{.scale = o.attention_scale > 0 ? o.attention_scale
                                             : 1.0 / std::sqrt(static_cast<double>(o.head_dim)),
              .window = o.has_window(layer) ? o.window : 0,
              .softcap = o.attention_softcap} {
  query = register_module("query", Linear(o.hidden, heads * head_dim, o.attention_bias));
  key = register_module("key", Linear(o.hidden, kv_heads * head_dim, o.attention_bias));
  value = register_module("value", Linear(o.hidden, kv_heads * head_dim, o.attention_bias));
  output = register_module("output", Linear(heads * head_dim, o.hidden, o.output_bias));
  if (qk_norm_ == QkNorm::none) return;
  const bool whole = qk_norm_ == QkNorm::whole;
  query_norm = register_module("query_norm", Norm(whole ? heads * head_dim : head_dim, o.norm()));
  key_norm = register_module("key_norm", Norm(whole ? kv_heads * head_dim : head_dim, o.norm()));
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
                                  const Rotation& rotation, KVCache* cache) {
  const at::Tensor q = prepare(query(x), heads, query_norm, rotation);
  const at::Tensor k = prepare(key(x), kv_heads, key_norm, rotation);
  const at::Tensor v = value(x).view({-1, kv_heads, head_dim});
  const at::Tensor attended =
      cache ? cached_attention(q, k, v, input.boundaries, attend_, *cache, layer_)
            : ragged_attention(q, k, v, input.boundaries, attend_);
  return output(attended.reshape({-1, heads * head_dim}));
}

BlockImpl::BlockImpl(const TransformerOptions& o, int64_t layer) : parallel_(o.parallel) {
  const auto norm = [&](const char* name) {
    return register_module(name, Norm(o.hidden, o.norm()));
  };
  if (o.pre_norm) attention_norm = norm("attention_norm");
  attention = register_module("attention", Attention(o, layer));
  if (o.post_norm) attention_post_norm = norm("attention_post_norm");
  if (o.pre_norm) mlp_norm = norm("mlp_norm");
  mlp = register_module("mlp", Mlp(MlpOptions{.hidden = o.hidden,
                                              .intermediate = o.intermediate,
                                              .activation = o.activation,
                                              .gated = o.gated,
                                              .bias = o.mlp_bias}));
  if (o.post_norm) mlp_post_norm = norm("mlp_post_norm");
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

Stream BlockImpl::forward(const Stream& stream, const RaggedInput& input, const Rotation& rotation,
                          KVCache* cache, at::ScalarType dtype) {
  const NormOutput before = enter(attention_norm, stream.residual, stream.delta, dtype);
  const at::Tensor attended =
      leave(attention_post_norm, attention(before.normalised, input, rotation, cache));
  if (parallel_) {
    const NormOutput beside = enter(mlp_norm, before.residual, {}, dtype);
    return {before.residual, attended + leave(mlp_post_norm, mlp(beside.normalised))};
  }
  const NormOutput between = enter(mlp_norm, before.residual, attended, dtype);
  return {between.residual, leave(mlp_post_norm, mlp(between.normalised))};
}

Transformer::Transformer(const TransformerOptions& o)
    : options_(o),
      rope_({.dim = o.rotary_dim ? o.rotary_dim : o.head_dim,
             .theta = o.rope_theta,
             .scaling = o.rope_scaling}),
      local_rope_({.dim = o.rotary_dim ? o.rotary_dim : o.head_dim, .theta = o.local_rope_theta}) {
  shape_ = {.layers = o.layers,
            .hidden = o.hidden,
            .heads = o.heads,
            .kv_heads = o.kv_heads,
            .head_dim = o.head_dim,
            .vocabulary = o.vocabulary,
            .context = o.context};
  embedding_ = register_parameter("embedding", unset_parameter({o.vocabulary, o.hidden}));
  if (o.learned_positions)
    positions_ = register_parameter("positions", unset_parameter({o.context, o.hidden}));
  for (int64_t i = 0; i < o.layers; ++i) {
    blocks_.push_back(register_module("blocks_" + std::to_string(i), Block(o, i)));
  }
  norm_ = register_module("norm", Norm(o.hidden, o.norm()));
  if (!o.tie_embeddings)
    head_ = register_parameter("head", unset_parameter({o.vocabulary, o.hidden}));
}

std::shared_ptr<Transformer> Transformer::twin() const {
  auto other = std::make_shared<Transformer>(options_);
  const std::vector<at::Tensor> own = parameters();
  std::vector<at::Tensor> others = other->parameters();
  for (size_t i = 0; i < own.size(); ++i) others[i].set_data(own[i].detach());
  return other;
}

at::Tensor Transformer::embed(const RaggedInput& input, int64_t longest) {
  at::Tensor x = at::embedding(embedding_, input.tokens).to(at::kFloat);
  if (options_.embedding_scale != 1) x = x * options_.embedding_scale;
  if (!positions_.defined()) return x;
  if (longest > options_.context) {
    throw Error(
        fmt::format("a document of {} tokens is longer than the model's {} learned positions",
                    longest, options_.context),
        "Shorten it, or limit new tokens.");
  }
  return x + at::embedding(positions_, input.positions).to(at::kFloat);
}

Transformer::~Transformer() = default;

bool Transformer::quantised() const { return is_quantised(compute_.weight_format()); }

bool Transformer::engine_covers() const {
  const EngineOps& engine = backend_of(embedding_).engine;
  return engine.make && engine.covers(options_);
}

void Transformer::set_compute(const ComputeOptions& options) {
  compute_ = options;
  const bool covered = engine_covers();
  if (!covered)
    log_debug("decoding runs through the modules of training: packed weights serve other shapes");
  if (!quantised() || covered) return;
  compute_.weights.reset();
  throw Error("8- and 4-bit weights serve models of Llama's shape on the CPU, which this is not",
              "Leave weights at auto.");
}

DecodeEngine* Transformer::engine(int64_t rows) {
  const WeightFormat format = compute_.weight_format();
  if (c10::GradMode::is_enabled() || (rows > kInvariantRows && !quantised())) return nullptr;
  if (!engine_covers()) return nullptr;
  std::vector<std::pair<const void*, uint32_t>> sources;
  const auto source = [&](const at::Tensor& t) {
    if (t.defined()) sources.emplace_back(t.const_data_ptr(), t.is_inference() ? 0 : t._version());
  };
  source(embedding_);
  source(head_);
  source(norm_->weight);
  EngineWeights weights;
  for (Block& block : blocks_) {
    AttentionImpl& a = *block->attention;
    MlpImpl& m = *block->mlp;
    for (const Linear* l : {&a.query, &a.key, &a.value, &a.output, &m.gate, &m.up, &m.down}) {
      if ((*l)->adapter) return nullptr;
      source((*l)->weight);
      source((*l)->bias);
    }
    source(block->attention_norm->weight);
    source(block->mlp_norm->weight);
    for (const Norm& n : {a.query_norm, a.key_norm}) {
      if (n) source(n->weight);
    }
  }
  if (engine_ && engine_format_ == format && engine_sources_ == sources) return engine_.get();

  const auto factor = [](const Norm& norm) -> at::Tensor {
    if (!norm) return {};
    return norm->options.plus_one ? norm->weight + 1 : norm->weight;
  };
  for (Block& block : blocks_) {
    AttentionImpl& a = *block->attention;
    MlpImpl& m = *block->mlp;
    weights.layers.push_back({.attention_norm = factor(block->attention_norm),
                              .mlp_norm = factor(block->mlp_norm),
                              .query_norm = factor(a.query_norm),
                              .key_norm = factor(a.key_norm),
                              .query = a.query->weight,
                              .key = a.key->weight,
                              .value = a.value->weight,
                              .output = a.output->weight,
                              .gate = m.gate->weight,
                              .up = m.up->weight,
                              .down = m.down->weight,
                              .query_bias = a.query->bias,
                              .key_bias = a.key->bias,
                              .value_bias = a.value->bias,
                              .output_bias = a.output->bias,
                              .gate_bias = m.gate->bias,
                              .up_bias = m.up->bias,
                              .down_bias = m.down->bias});
  }
  weights.norm = factor(norm_);
  weights.head = head_weight();
  engine_.reset();  // before the next one takes its memory
  engine_ = backend_of(embedding_).engine.make(options_, weights, format);
  log_debug("decoding runs on packed weights: {:.1f} MB as {}",
            static_cast<double>(engine_->weight_bytes()) / 1e6, continuo::name(format));
  engine_sources_ = std::move(sources);
  engine_format_ = format;
  engine_head_ = quantised() ? engine_->head() : at::Tensor();
  return engine_.get();
}

at::Tensor Transformer::forward(const RaggedInput& input, KVCache* cache) {
  if (!cache && quantised() && engine(input.tokens.size(0))) {
    KVCache own(
        {.layers = shape_.layers, .kv_heads = shape_.kv_heads, .head_dim = shape_.head_dim});
    std::vector<int64_t> ids;
    for (int64_t d = 0; d < input.documents(); ++d) ids.push_back(own.add());
    own.activate(ids);
    return forward(input, &own);
  }
  // Positions are bounded by what the input can hold: no look at the device's values.
  std::vector<int64_t> lengths;
  int64_t longest = 0;
  for (int64_t d = 0; d < input.documents(); ++d) {
    lengths.push_back((cache ? cache->length(cache->active()[d]) : 0) + input.length(d));
    longest = std::max(longest, lengths.back());
  }
  Stream stream;
  stream.residual = embed(input, longest);
  // Recomputation passes gradients on only where an input asks for them; a frozen embedding does
  // not (nn/adapters/lora.h).
  if (compute_.recompute && c10::GradMode::is_enabled() && !stream.residual.requires_grad()) {
    stream.residual.set_requires_grad(true);
  }
  if (cache) {
    for (int64_t d = 0; d < input.documents(); ++d)
      cache->reserve(cache->active()[d], input.length(d));
  }
  Rotation far, near;
  if (!options_.learned_positions) far = rope_.rotation(input.positions, input.boundaries, lengths);
  if (options_.local_rope_theta > 0)
    near = local_rope_.rotation(input.positions, input.boundaries, lengths);

  if (cache) {
    if (DecodeEngine* decoding = engine(stream.residual.size(0))) {
      const at::Tensor hidden = decoding->forward(stream.residual, input, far, near, *cache);
      for (int64_t d = 0; d < input.documents(); ++d)
        cache->commit(cache->active()[d], input.length(d));
      return hidden;
    }
  }

  for (size_t i = 0; i < blocks_.size(); ++i) {
    const bool local = near.cos.defined() && options_.has_window(static_cast<int64_t>(i));
    // By value: with recomputation the function outlives this call.
    const TensorFunction block = [this, i, input, rotation = local ? near : far, cache](
                                     const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
      const Stream result = blocks_[i]->forward({in[0], in.size() > 1 ? in[1] : at::Tensor()},
                                                input, rotation, cache, compute_.dtype);
      return {result.residual, result.delta};
    };
    std::vector<at::Tensor> inputs = {stream.residual};
    if (stream.delta.defined()) inputs.push_back(stream.delta);
    const std::vector<at::Tensor> out =
        compute_.recompute && !cache ? recompute(block, inputs) : block(inputs);
    stream = {out[0], out[1]};
  }
  if (cache) {
    for (int64_t d = 0; d < input.documents(); ++d)
      cache->commit(cache->active()[d], input.length(d));
  }
  return norm_(stream.residual, stream.delta, compute_.dtype).normalised;
}

Head Transformer::head(at::ScalarType dtype) {
  return {head_weight(), head_cast(dtype), options_.logit_softcap};
}

const at::Tensor& Transformer::head_cast(at::ScalarType dtype) {
  if (engine_head_.defined() && quantised() && !c10::GradMode::is_enabled())
    return head_cast_.get(engine_head_, dtype);
  return head_cast_.get(head_.defined() ? head_ : embedding_, dtype);
}

at::Tensor Transformer::logits(const at::Tensor& rows) {
  DecodeEngine* decoding = engine(rows.size(0));
  const at::Tensor raw =
      decoding ? decoding->logits(rows.to(at::kFloat))
               : linear(rows, head_weight(), head_cast(rows.scalar_type()), {}).to(at::kFloat);
  const double cap = options_.logit_softcap;
  return cap > 0 ? at::tanh(raw / cap) * cap : raw;
}

int64_t Transformer::weight_bytes() {
  const c10::NoGradGuard no_grad;
  if (const DecodeEngine* decoding = engine(1)) return decoding->weight_bytes();
  int64_t weights = head_weight().numel();
  for (const LinearImpl* layer : linear_layers(*this)) weights += layer->weight.numel();
  return weights * static_cast<int64_t>(c10::elementSize(compute_.dtype));
}

void Transformer::initialise(int64_t seed) {
  const c10::NoGradGuard no_grad;
  constexpr double kStd = 0.02;
  const double into_residual = kStd / std::sqrt(2.0 * static_cast<double>(options_.layers));
  for (const auto& item : named_parameters()) {
    const std::string& name = item.key();
    const at::Tensor& parameter = item.value();
    allocate_unset(parameter);
    if (parameter.dim() < 2) {
      parameter.fill_(name.ends_with("bias") || options_.norm_plus_one ? 0.0 : 1.0);
      continue;
    }
    // A generator per parameter: adding a layer leaves the others' draws as they are.
    const uint64_t key =
        static_cast<uint64_t>(seed) ^ std::stoull(hash_bytes(name).substr(0, 16), nullptr, 16);
    at::Generator generator = at::detail::createCPUGenerator(key);
    const bool projection = name.ends_with("output.weight") || name.ends_with("down.weight");
    parameter.copy_(
        at::normal(0.0, projection ? into_residual : kStd, parameter.sizes(), generator));
  }
}

}  // namespace continuo
