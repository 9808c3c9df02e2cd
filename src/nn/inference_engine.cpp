#include "nn/inference_engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <ATen/ops/empty.h>

#include "nn/kernels/kernels.h"
#include "nn/kernels/span.h"
#include "nn/kv_cache.h"

namespace continuo {

namespace {

constexpr int64_t kSpan = 256;  // keys of a unit of attention: fixed, so that sums do not depend on who computes them

std::vector<float> floats(const at::Tensor& t) {
  if (!t.defined()) return {};
  const at::Tensor f = t.detach().to(at::kFloat).contiguous();
  return {f.const_data_ptr<float>(), f.const_data_ptr<float>() + f.numel()};
}

// Biases of matrices one under the other; empty when there is none.
std::vector<float> joined_bias(std::initializer_list<at::Tensor> biases, std::initializer_list<at::Tensor> matrices) {
  std::vector<float> all;
  bool any = false;
  auto matrix = matrices.begin();
  for (const at::Tensor& bias : biases) {
    const auto size = static_cast<size_t>((matrix++)->size(0));
    any = any || bias.defined();
    const std::vector<float> own = bias.defined() ? floats(bias) : std::vector<float>(size);
    all.insert(all.end(), own.begin(), own.end());
  }
  return any ? all : std::vector<float>();
}

int64_t total_bytes(const InferenceEngine::Weights& w, WeightFormat format) {
  int64_t bytes = concatenated_panels({w.head}) * panel_bytes(format, w.head.size(1));
  for (const auto& l : w.layers) {
    bytes += concatenated_panels({l.query, l.key, l.value}) * panel_bytes(format, l.query.size(1));
    bytes += concatenated_panels({l.output}) * panel_bytes(format, l.output.size(1));
    bytes += paired_panels(l.gate) * panel_bytes(format, l.gate.size(1));
    bytes += concatenated_panels({l.down}) * panel_bytes(format, l.down.size(1));
  }
  return bytes;
}

// Grows only, zeros included: what lies between the values and their padded stride stays zero.
void fit(std::vector<float>& v, int64_t size) {
  if (static_cast<int64_t>(v.size()) < size) v.resize(size);
}

}  // namespace

bool InferenceEngine::covers(const TransformerOptions& o) {
  return o.head_dim % 16 == 0 && o.pre_norm && !o.post_norm && !o.layer_norm && !o.parallel && o.gated &&
         o.activation == Activation::silu && o.attention_softcap == 0 && !o.learned_positions;
}

InferenceEngine::InferenceEngine(const TransformerOptions& options, const Weights& w, WeightFormat format)
    : options_(options),
      scale_(static_cast<float>(options.attention_scale > 0 ? options.attention_scale
                                                            : 1 / std::sqrt(static_cast<double>(options.head_dim)))),
      arena_(total_bytes(w, format)) {
  for (size_t i = 0; i < w.layers.size(); ++i) {
    const LayerWeights& l = w.layers[i];
    Layer layer;
    layer.attention_norm = floats(l.attention_norm);
    layer.mlp_norm = floats(l.mlp_norm);
    layer.query_norm = floats(l.query_norm);
    layer.key_norm = floats(l.key_norm);
    layer.qkv_bias = joined_bias({l.query_bias, l.key_bias, l.value_bias}, {l.query, l.key, l.value});
    layer.output_bias = floats(l.output_bias);
    layer.gate_bias = floats(l.gate_bias);
    layer.up_bias = floats(l.up_bias);
    layer.down_bias = floats(l.down_bias);
    layer.qkv = pack_concatenated(arena_, format, {l.query, l.key, l.value});
    layer.output = pack_concatenated(arena_, format, {l.output});
    layer.gate_up = pack_paired(arena_, format, l.gate, l.up);
    layer.down = pack_concatenated(arena_, format, {l.down});
    layer.rotates = options.rotates(static_cast<int64_t>(i));
    layer.windowed = options.has_window(static_cast<int64_t>(i));
    layers_.push_back(std::move(layer));
  }
  head_ = pack_concatenated(arena_, format, {w.head});
  norm_ = floats(w.norm);
}

int64_t InferenceEngine::weight_bytes() const {
  int64_t bytes = head_.bytes();
  for (const Layer& l : layers_) bytes += l.qkv.bytes() + l.output.bytes() + l.gate_up.bytes() + l.down.bytes();
  return bytes;
}

struct InferenceEngine::Pass {
  std::vector<Row> rows;
  std::vector<Span> everything, windowed;
  std::vector<void*> caches;          // storage of each document, [layers, 2, kv_heads, capacity, head_dim]
  std::vector<int64_t> capacities;
  bool halves = false;                // the cache's dtype is bfloat16
  const Rotation *far = nullptr, *near = nullptr;
  float* out = nullptr;               // [N, hidden]

  int64_t size() const { return static_cast<int64_t>(rows.size()); }
  // Keys of one KV head in a layer; its values lie kv_heads · capacity · head_dim further.
  template <class T>
  T* keys(const TransformerOptions& o, int64_t row, int64_t layer, int64_t head) const {
    const int64_t document = rows[row].document, capacity = capacities[document];
    return static_cast<T*>(caches[document]) + ((layer * 2 * o.kv_heads + head) * capacity) * o.head_dim;
  }
  template <class T>
  int64_t values_offset(const TransformerOptions& o, int64_t row) const {
    return o.kv_heads * capacities[rows[row].document] * o.head_dim;
  }
};

std::vector<InferenceEngine::Span> InferenceEngine::spans(const std::vector<Row>& rows, int64_t window) const {
  std::vector<Span> all;
  for (size_t r = 0; r < rows.size(); ++r) {
    const int64_t end = rows[r].visible, first = window > 0 ? std::max<int64_t>(0, end - window) : 0;
    const int64_t count = (end - first + kSpan - 1) / kSpan;
    for (int64_t i = 0; i < count; ++i) {
      all.push_back({static_cast<int64_t>(r), first + i * kSpan, std::min(end, first + (i + 1) * kSpan), i, count});
    }
  }
  return all;
}

at::Tensor InferenceEngine::forward(const at::Tensor& embedded, const RaggedInput& input, const Rotation& far,
                                    const Rotation& near, KVCache& cache) {
  const TransformerOptions& o = options_;
  Pass pass;
  for (int64_t d = 0; d < input.documents(); ++d) {
    const int64_t id = cache.active()[d], past = cache.length(id);
    const at::Tensor storage = cache.storage(id, 0);
    pass.caches.push_back(storage.data_ptr());
    pass.capacities.push_back(storage.size(2));
    for (int64_t i = 0; i < input.length(d); ++i) pass.rows.push_back({d, past + i + 1});
  }
  pass.halves = cache.shape().dtype == at::kBFloat16;
  pass.everything = spans(pass.rows, 0);
  if (o.window > 0) pass.windowed = spans(pass.rows, o.window);
  pass.far = &far;
  pass.near = near.cos.defined() ? &near : &far;

  const int64_t n = pass.size();
  const at::Tensor source = embedded.contiguous();
  at::Tensor out = at::empty({n, o.hidden}, at::TensorOptions(at::kFloat));
  pass.out = data<float>(out);
  const Layer& l = layers_.front();
  fit(residual_, n * o.hidden);
  std::memcpy(residual_.data(), data<float>(source), n * o.hidden * sizeof(float));
  fit(normalised_, n * l.qkv.stride_in());
  fit(qkv_, n * l.qkv.stride_out());
  fit(attended_, n * l.output.stride_in());
  fit(gate_up_, n * l.gate_up.stride_out());
  fit(result_, n * l.down.stride_in());
  fit(product_, n * l.output.stride_out());
  const auto units = static_cast<int64_t>(std::max(pass.everything.size(), pass.windowed.size()));
  fit(partial_, units * o.heads * o.head_dim);
  if (static_cast<int64_t>(parts_.size()) < units * o.heads) parts_.resize(units * o.heads);
  scratch_.resize(at::get_num_threads());
  Team::run([&](const Team::Member& member) { run(pass, member); });
  return out;
}

void InferenceEngine::normalise(const Pass& pass, const std::vector<float>& weight, float* out, int64_t stride,
                                const Team::Member& member) const {
  const int64_t hidden = options_.hidden;
  for (int64_t r = member.begin(pass.size()); r < member.end(pass.size()); ++r) {
    float rstd;
    kernels().f32.add_rms_norm(1, hidden, residual_.data() + r * hidden, nullptr, weight.data(),
                               static_cast<float>(options_.norm_epsilon), nullptr, out + r * stride, &rstd);
  }
}

// Biases, norms and rotation of queries and keys, keys and values into the cache. A unit is a KV head with its queries.
template <class T>
void InferenceEngine::write_keys(const Pass& pass, int64_t index, const Team::Member& member) const {
  const TransformerOptions& o = options_;
  const Layer& l = layers_[index];
  const Rotation& rotation = l.windowed ? *pass.near : *pass.far;
  const int64_t dim = o.head_dim, group = o.heads / o.kv_heads, stride = l.qkv.stride_out();
  const auto epsilon = static_cast<float>(o.norm_epsilon);
  auto* qkv = const_cast<float*>(qkv_.data());
  const auto norm = [&](float* x, int64_t n, const std::vector<float>& weight) {
    float rstd;
    kernels().f32.add_rms_norm(1, n, x, nullptr, weight.data(), epsilon, nullptr, x, &rstd);
  };
  if (!l.qkv_bias.empty() || o.qk_norm == QkNorm::whole) {
    for (int64_t r = member.begin(pass.size()); r < member.end(pass.size()); ++r) {
      float* row = qkv + r * stride;
      for (size_t i = 0; i < l.qkv_bias.size(); ++i) row[i] += l.qkv_bias[i];
      if (o.qk_norm == QkNorm::whole) {
        norm(row, o.heads * dim, l.query_norm);
        norm(row + o.heads * dim, o.kv_heads * dim, l.key_norm);
      }
    }
    member.wait();
  }
  const auto narrow = [](int64_t n, const float* x, T* y) {
    if constexpr (sizeof(T) == sizeof(float)) {
      kernels().packed.narrow_f32(n, x, y);
    } else {
      kernels().packed.narrow_bf16(n, x, y);
    }
  };
  const int64_t units = pass.size() * o.kv_heads;
  for (int64_t u = member.begin(units); u < member.end(units); ++u) {
    const int64_t r = u / o.kv_heads, h = u % o.kv_heads;
    float* queries = qkv + r * stride + h * group * dim;
    float* key = qkv + r * stride + (o.heads + h) * dim;
    const auto prepare = [&](float* x, const std::vector<float>& weight) {
      if (o.qk_norm == QkNorm::head) norm(x, dim, weight);
      if (!l.rotates) return;
      const int64_t half = rotation.cos.size(1);
      kernels().f32.rope(1, 1, 2 * half, x, data<int64_t>(rotation.rows) + r, data<float>(rotation.cos),
                         data<float>(rotation.sin), 1.0f, x);
    };
    for (int64_t g = 0; g < group; ++g) prepare(queries + g * dim, l.query_norm);
    prepare(key, l.key_norm);
    T* slot = pass.keys<T>(o, r, index, h) + (pass.rows[r].visible - 1) * dim;
    narrow(dim, key, slot);
    narrow(dim, key + o.kv_heads * dim, slot + pass.values_offset<T>(o, r));
  }
}

template <class T>
void InferenceEngine::attend(Pass& pass, int64_t index, PackedScratch& scratch, const Team::Member& member) const {
  const TransformerOptions& o = options_;
  const Layer& l = layers_[index];
  const std::vector<Span>& spans = l.windowed ? pass.windowed : pass.everything;
  const int64_t dim = o.head_dim, group = o.heads / o.kv_heads, stride = l.output.stride_in();
  auto* attended = const_cast<float*>(attended_.data());
  auto* partial = const_cast<float*>(partial_.data());
  auto* parts = const_cast<AttentionPart*>(parts_.data());
  scratch.scales.resize(std::max<size_t>(scratch.scales.size(), kSpan + 16));
  bool split = false;
  for (const Span& s : spans) split = split || s.count > 1;
  // Dealt round: the rows of one document see ever more keys.
  const int64_t units = static_cast<int64_t>(spans.size()) * o.kv_heads;
  for (int64_t u = member.rank; u < units; u += member.size) {
    const Span& s = spans[u / o.kv_heads];
    const int64_t h = u % o.kv_heads;
    const T* keys = pass.keys<T>(o, s.row, index, h) + s.begin * dim;
    const T* values = keys + pass.values_offset<T>(o, s.row);
    const float* q = qkv_.data() + s.row * l.qkv.stride_out() + h * group * dim;
    float* out = s.count > 1 ? partial + u * group * dim : attended + s.row * stride + h * group * dim;
    AttentionPart* part = parts + u * group;
    if constexpr (sizeof(T) == sizeof(float)) {
      kernels().packed.attend_f32(group, dim, s.end - s.begin, q, keys, values, scale_, scratch.scales.data(), part, out);
    } else {
      kernels().packed.attend_bf16(group, dim, s.end - s.begin, q, keys, values, scale_, scratch.scales.data(), part, out);
    }
    if (s.count > 1) continue;
    for (int64_t g = 0; g < group; ++g) {
      const float inverse = 1 / part[g].total;
      for (int64_t i = 0; i < dim; ++i) out[g * dim + i] *= inverse;
    }
  }
  if (!split) return;
  member.wait();
  for (int64_t u = member.rank; u < units; u += member.size) {
    const Span& s = spans[u / o.kv_heads];
    if (s.count == 1 || s.index != 0) continue;
    const int64_t h = u % o.kv_heads;
    for (int64_t g = 0; g < group; ++g) {
      float* out = attended + s.row * stride + (h * group + g) * dim;
      const auto unit = [&](int64_t i) { return (u + i * o.kv_heads) * group + g; };
      float high = -INFINITY, total = 0;
      for (int64_t i = 0; i < s.count; ++i) high = std::max(high, parts[unit(i)].high);
      std::fill_n(out, dim, 0.0f);
      for (int64_t i = 0; i < s.count; ++i) {
        const float share = std::exp(parts[unit(i)].high - high);
        total += share * parts[unit(i)].total;
        for (int64_t c = 0; c < dim; ++c) out[c] += share * partial[unit(i) * dim + c];
      }
      for (int64_t c = 0; c < dim; ++c) out[c] /= total;
    }
  }
}

// residual += product_ + bias for the columns of panels [first, last).
void InferenceEngine::add(const Pass& pass, const PackedMatrix& w, const std::vector<float>& bias, int64_t first,
                          int64_t last) const {
  const int64_t hidden = options_.hidden, begin = first * kPanel, end = std::min(hidden, last * kPanel);
  auto* residual = const_cast<float*>(residual_.data());
  for (int64_t r = 0; r < pass.size(); ++r) {
    float* to = residual + r * hidden;
    const float* from = product_.data() + r * w.stride_out();
    if (bias.empty()) {
      for (int64_t i = begin; i < end; ++i) to[i] += from[i];
    } else {
      for (int64_t i = begin; i < end; ++i) to[i] += from[i] + bias[i];
    }
  }
}

// result_ = silu(gate) · up for the pairs of panels [begin, end).
void InferenceEngine::multiply_gate(const Pass& pass, const Layer& l, int64_t begin, int64_t end) {
  constexpr int64_t kHalfPanel = kPanel / 2;
  for (int64_t r = 0; r < pass.size(); ++r) {
    float* from = gate_up_.data() + r * l.gate_up.stride_out();
    float* to = result_.data() + r * l.down.stride_in();
    for (int64_t p = begin; p < end; ++p) {
      const int64_t count = std::min(kHalfPanel, options_.intermediate - p * kHalfPanel);
      float *gate = from + p * kPanel, *up = gate + kHalfPanel;
      for (int64_t c = 0; c < count && !l.gate_bias.empty(); ++c) gate[c] += l.gate_bias[p * kHalfPanel + c];
      for (int64_t c = 0; c < count && !l.up_bias.empty(); ++c) up[c] += l.up_bias[p * kHalfPanel + c];
      kernels().f32.swiglu(count, gate, up, to + p * kHalfPanel);
    }
  }
}

void InferenceEngine::run(Pass& pass, const Team::Member& member) {
  PackedScratch& scratch = scratch_[member.rank];
  const int64_t n = pass.size();
  // Every member converts the rows of a product for itself: cheaper than one more wait.
  const auto multiply = [&](const PackedMatrix& w, const std::vector<float>& x, std::vector<float>& y, const auto& finish) {
    const PackedInput rows = prepare(w, n, x.data(), scratch);
    member.deal(w.panels, [&](int64_t begin, int64_t end) {
      product(w, n, rows, begin, end, y.data());
      finish(begin, end);
    });
    member.wait();
  };
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& l = layers_[i];
    const auto index = static_cast<int64_t>(i);
    normalise(pass, l.attention_norm, normalised_.data(), l.qkv.stride_in(), member);
    member.wait();
    multiply(l.qkv, normalised_, qkv_, [](int64_t, int64_t) {});
    pass.halves ? write_keys<uint16_t>(pass, index, member) : write_keys<float>(pass, index, member);
    member.wait();
    pass.halves ? attend<uint16_t>(pass, index, scratch, member) : attend<float>(pass, index, scratch, member);
    member.wait();
    multiply(l.output, attended_, product_,
             [&](int64_t begin, int64_t end) { add(pass, l.output, l.output_bias, begin, end); });

    normalise(pass, l.mlp_norm, normalised_.data(), l.gate_up.stride_in(), member);
    member.wait();
    multiply(l.gate_up, normalised_, gate_up_, [&](int64_t begin, int64_t end) { multiply_gate(pass, l, begin, end); });
    multiply(l.down, result_, product_,
             [&](int64_t begin, int64_t end) { add(pass, l.down, l.down_bias, begin, end); });
  }
  normalise(pass, norm_, pass.out, options_.hidden, member);
}

at::Tensor InferenceEngine::logits(const at::Tensor& hidden) {
  const int64_t n = hidden.size(0), stride = head_.stride_in();
  const at::Tensor source = hidden.contiguous();
  std::vector<float> padded;
  const float* x = data<float>(source);
  if (stride != options_.hidden) {
    padded.assign(n * stride, 0.0f);
    for (int64_t r = 0; r < n; ++r) std::copy_n(x + r * options_.hidden, options_.hidden, padded.data() + r * stride);
    x = padded.data();
  }
  at::Tensor out = at::empty({n, head_.stride_out()}, at::TensorOptions(at::kFloat));
  scratch_.resize(std::max<size_t>(scratch_.size(), at::get_num_threads()));
  Team::run([&](const Team::Member& member) {
    const PackedInput rows = prepare(head_, n, x, scratch_[member.rank]);
    member.deal(head_.panels, [&](int64_t begin, int64_t end) {
      product(head_, n, rows, begin, end, data<float>(out));
    });
  });
  return out.narrow(1, 0, options_.vocabulary).contiguous();
}

}  // namespace continuo
