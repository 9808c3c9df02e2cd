#include "nn/transformer.h"

#include <algorithm>
#include <cmath>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/tanh.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "core/hash.h"
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

// What random weights are a function of, besides names and shapes. Outlives the model in whoever
// reads stored matrices of it.
struct Initial {
  int64_t seed, layers;
  bool plus_one;  // what one-dimensional parameters of such norms store is the factor less one

  at::Tensor values(const std::string& name, at::IntArrayRef sizes) const {
    if (sizes.size() < 2)
      return at::full(sizes, name.ends_with("bias") || plus_one ? 0.0 : 1.0, at::kFloat);
    constexpr double kStd = 0.02;
    const double into_residual = kStd / std::sqrt(2.0 * static_cast<double>(layers));
    // A generator per parameter: adding a layer leaves the others' draws as they are.
    const uint64_t key =
        static_cast<uint64_t>(seed) ^ std::stoull(hash_bytes(name).substr(0, 16), nullptr, 16);
    const at::Generator generator = at::detail::createCPUGenerator(key);
    const bool projection = name.ends_with("output.weight") || name.ends_with("down.weight");
    return at::normal(0.0, projection ? into_residual : kStd, sizes, generator);
  }

  void set(const std::string& name, const at::Tensor& parameter) const {
    allocate_unset(parameter);
    parameter.copy_(values(name, parameter.sizes()));
  }
};

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

ModelWeights Transformer::weights() const {
  const auto norm = [](const Norm& n) -> NormWeights {
    if (!n) return {};
    const at::Tensor factor = n->weight.detach();
    return {n->spec.plus_one ? factor + 1 : factor, n->bias};
  };
  const auto matrix = [](const WeightMatrix& stored, const at::Tensor& parameter) {
    return stored.defined() ? stored : WeightMatrix(parameter);
  };
  const WeightMatrix embedding = matrix(stored_embedding_, embedding_);
  const bool tied = !head_.defined();
  ModelWeights weights = {.embedding = tied ? WeightMatrix() : embedding,
                          .positions = positions_,
                          .blocks = {},
                          .matrices = {},
                          .norm = norm(norm_),
                          .head = tied ? embedding : matrix(stored_head_, head_)};
  for (const Block& block : blocks_) {
    BlockWeights& w = weights.blocks.emplace_back();
    w.mixer_norm = norm(block->attention_norm);
    w.mixer_post_norm = norm(block->attention_post_norm);
    w.mlp_norm = norm(block->mlp_norm);
    w.mlp_post_norm = norm(block->mlp_post_norm);
    if (block->attention) {
      w.query_norm = norm(block->attention->query_norm);
      w.key_norm = norm(block->attention->key_norm);
    } else {
      w.kernel = block->convolution->kernel;
      w.kernel_bias = block->convolution->bias;
    }
  }
  for (const auto& [place, layer] : linear_slots())
    weights.matrices[place] = {layer->matrix(), layer->bias};
  return weights;
}

std::map<std::string, WeightMatrix*> Transformer::stored_matrices() {
  std::map<std::string, WeightMatrix*> matrices = {{"embedding", &stored_embedding_}};
  if (head_.defined()) matrices["head"] = &stored_head_;
  for (const auto& item : named_modules()) {
    if (auto* layer = dynamic_cast<LinearImpl*>(item.value().get()))
      matrices[item.key() + ".weight"] = &layer->stored;
  }
  return matrices;
}

void Transformer::read_stored(const std::vector<at::Tensor>& parameters,
                              std::optional<at::ScalarType> dtype) {
  const c10::NoGradGuard no_grad;
  auto named = named_parameters();
  for (const auto& [name, stored] : stored_matrices()) {
    at::Tensor& parameter = named[name];
    const auto is_it = [&](const at::Tensor& p) { return p.is_same(parameter); };
    if (!stored->defined() || std::ranges::none_of(parameters, is_it)) continue;
    const at::Tensor rows = stored->rows(0, stored->out());
    const at::Tensor read = rows.to(dtype.value_or(rows.scalar_type())).contiguous();
    const at::Tensor there = upload(read, parameter.device());
    parameter.set_data(there.is_alias_of(rows) ? there.clone() : there);
    *stored = {};
  }
}

std::vector<Transformer::LinearSlot> Transformer::linear_slots() const {
  std::vector<LinearSlot> slots;
  for (int64_t i = 0; i < std::ssize(blocks_); ++i) {
    const auto add = [&](Matrix matrix, const Linear& layer, int64_t expert = 0) {
      if (layer) slots.push_back({{i, matrix, expert}, layer.ptr().get()});
    };
    const auto add_mlp = [&](const Mlp& mlp, int64_t expert) {
      add(Matrix::gate, mlp->gate, expert);
      add(Matrix::up, mlp->up, expert);
      add(Matrix::down, mlp->down, expert);
    };
    const BlockImpl& block = *blocks_[i];
    if (const Attention& a = block.attention) {
      add(Matrix::query, a->query);
      add(Matrix::key, a->key);
      add(Matrix::value, a->value);
      add(Matrix::output, a->output);
    } else {
      add(Matrix::convolve_in, block.convolution->in);
      add(Matrix::convolve_out, block.convolution->output);
    }
    if (block.mlp) {
      add_mlp(block.mlp, 0);
      continue;
    }
    add(Matrix::router, block.mixture->router);
    for (size_t e = 0; e < block.mixture->experts.size(); ++e)
      add_mlp(block.mixture->experts[e], static_cast<int64_t>(e));
  }
  return slots;
}

std::optional<AdapterWeights> Transformer::adapter_weights() const {
  std::optional<AdapterWeights> adapters;
  for (const auto& [place, layer] : linear_slots()) {
    if (!layer->adapter) continue;
    if (!adapters) adapters.emplace();
    adapters->emplace(place, layer->adapter->low_rank(*layer));
  }
  return adapters;
}

void Transformer::initialise(int64_t seed) {
  const c10::NoGradGuard no_grad;
  const Initial initial = {seed, spec_.layers(), spec_.norm.plus_one};
  for (const auto& item : named_parameters()) initial.set(item.key(), item.value());
}

void Transformer::initialise_when_read(int64_t seed, at::Device device) {
  const c10::NoGradGuard no_grad;
  const Initial initial = {seed, spec_.layers(), spec_.norm.plus_one};
  const auto matrices = stored_matrices();
  for (const auto& item : named_parameters()) {
    const std::string& name = item.key();
    const auto matrix = matrices.find(name);
    if (matrix == matrices.end()) {
      initial.set(name, item.value());
      item.value().set_data(item.value().to(device));
      continue;
    }
    item.value().set_data(unset_parameter(item.value().sizes(), device));
    const std::vector<int64_t> sizes = item.value().sizes().vec();
    const auto rows = [initial, name, sizes](int64_t begin, int64_t end) {
      return initial.values(name, sizes).narrow(0, begin, end - begin);
    };
    *matrix->second = WeightMatrix(sizes[0], sizes[1], rows);
  }
}

}  // namespace continuo
