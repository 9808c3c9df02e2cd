// The attention of the decode engine: queries and keys rotated, the cache written, spans of keys
// attended to and merged.
#include <algorithm>
#include <cmath>

#include "nn/cpu/inference_engine.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/kv_cache.h"

namespace continuo {

// The norm of a query or key, where the family has one, and its rotation.
void InferenceEngine::rotate(const Pass& pass, const Layer& l, int64_t row,
                             const std::vector<float>& norm, float* x) const {
  const TransformerOptions& o = options_;
  if (o.qk_norm == QkNorm::head) {
    float rstd;
    kernels().f32.add_rms_norm(1, o.head_dim, x, nullptr, norm.data(),
                               static_cast<float>(o.norm_epsilon), nullptr, x, &rstd);
  }
  if (!l.rotates) return;
  const Rotation& rotation = l.windowed ? *pass.near : *pass.far;
  kernels().f32.rope(1, 1, 2 * rotation.cos.size(1), x, data<int64_t>(rotation.rows) + row,
                     data<float>(rotation.cos), data<float>(rotation.sin), 1.0f, x);
}

// Rotates the key that a row has for a KV head, and writes it into the cache with the value.
template <class T>
void InferenceEngine::write_key(const Pass& pass, int64_t index, int64_t row, int64_t head,
                                float* key, const float* value) const {
  const TransformerOptions& o = options_;
  const auto narrow = [](int64_t n, const float* x, T* y) {
    if constexpr (sizeof(T) == sizeof(float)) {
      kernels().packed.narrow_f32(n, x, y);
    } else {
      kernels().packed.narrow_bf16(n, x, y);
    }
  };
  rotate(pass, layers_[index], row, layers_[index].key_norm, key);
  T* slot = pass.keys<T>(o, row, index, head) + (pass.rows[row].visible - 1) * o.head_dim;
  narrow(o.head_dim, key, slot);
  narrow(o.head_dim, value, slot + pass.values_offset<T>(o, row));
}

// Queries and keys are normalised and rotated, keys and values written to the cache, queries
// attend. Where every document has one row, the unit of attention that sees the new key writes it,
// and no member waits for another.
template <class T>
void InferenceEngine::attend(Pass& pass, int64_t index, Scratch& scratch,
                             const Team::Member& member) {
  const TransformerOptions& o = options_;
  const Layer& l = layers_[index];
  const std::vector<Span>& spans = l.windowed ? pass.windowed : pass.everything;
  const int64_t dim = o.head_dim, group = o.heads / o.kv_heads, stride = l.output.stride_in(),
                width = l.qkv.stride_out();
  fit(scratch.scores, kSpan + 16);
  fit(scratch.query, group * dim);
  const auto part_of = [&](int64_t row, int64_t head) {
    return qkv_.data() + row * width + head * dim;
  };
  if (!l.qkv_bias.empty() || o.qk_norm == QkNorm::whole) {
    for (int64_t r = member.begin(pass.size()); r < member.end(pass.size()); ++r) {
      float* row = part_of(r, 0);
      for (size_t i = 0; i < l.qkv_bias.size(); ++i) row[i] += l.qkv_bias[i];
      if (o.qk_norm != QkNorm::whole) continue;
      const auto norm = [&](float* x, int64_t n, const std::vector<float>& weight) {
        float rstd;
        kernels().f32.add_rms_norm(1, n, x, nullptr, weight.data(),
                                   static_cast<float>(o.norm_epsilon), nullptr, x, &rstd);
      };
      norm(row, o.heads * dim, l.query_norm);
      norm(row + o.heads * dim, o.kv_heads * dim, l.key_norm);
    }
    member.wait();
  }
  if (!pass.single) {
    const int64_t units = pass.size() * o.kv_heads;
    for (int64_t u = member.begin(units); u < member.end(units); ++u) {
      const int64_t r = u / o.kv_heads, h = u % o.kv_heads;
      write_key<T>(pass, index, r, h, part_of(r, o.heads + h),
                   part_of(r, o.heads + o.kv_heads + h));
    }
    member.wait();
  }
  bool split = false;
  for (const Span& s : spans) split = split || s.count > 1;
  // Units are dealt round, because later rows of a document see more keys than earlier ones.
  const auto units = static_cast<int64_t>(spans.size()) * o.kv_heads;
  for (int64_t u = member.rank; u < units; u += member.size) {
    const Span& s = spans[u / o.kv_heads];
    const int64_t h = u % o.kv_heads;
    if (pass.single && s.index + 1 == s.count) {
      write_key<T>(pass, index, s.row, h, part_of(s.row, o.heads + h),
                   part_of(s.row, o.heads + o.kv_heads + h));
    }
    float* q = scratch.query.data();
    std::copy_n(part_of(s.row, h * group), group * dim, q);
    for (int64_t g = 0; g < group; ++g) rotate(pass, l, s.row, l.query_norm, q + g * dim);
    const T* keys = pass.keys<T>(o, s.row, index, h) + s.begin * dim;
    const T* values = keys + pass.values_offset<T>(o, s.row);
    float* out = s.count > 1 ? partial_.data() + u * group * dim
                             : attended_.data() + s.row * stride + h * group * dim;
    AttentionPart* part = parts_.data() + u * group;
    if constexpr (sizeof(T) == sizeof(float)) {
      kernels().packed.attend_f32(group, dim, s.end - s.begin, q, keys, values, scale_,
                                  scratch.scores.data(), part, out);
    } else {
      kernels().packed.attend_bf16(group, dim, s.end - s.begin, q, keys, values, scale_,
                                   scratch.scores.data(), part, out);
    }
    if (s.count > 1) continue;
    for (int64_t g = 0; g < group; ++g) {
      const float inverse = 1 / part[g].total;
      for (int64_t i = 0; i < dim; ++i) out[g * dim + i] *= inverse;
    }
  }
  if (!split) return;
  member.wait();
  merge_spans(spans, stride, member);
}

// Puts the attention of rows whose keys were split together from its parts.
void InferenceEngine::merge_spans(const std::vector<Span>& spans, int64_t stride,
                                  const Team::Member& member) {
  const int64_t dim = options_.head_dim, group = options_.heads / options_.kv_heads;
  const auto units = static_cast<int64_t>(spans.size()) * options_.kv_heads;
  for (int64_t u = member.rank; u < units; u += member.size) {
    const Span& s = spans[u / options_.kv_heads];
    if (s.count == 1 || s.index != 0) continue;
    const int64_t h = u % options_.kv_heads;
    for (int64_t g = 0; g < group; ++g) {
      float* out = attended_.data() + s.row * stride + (h * group + g) * dim;
      const auto unit = [&](int64_t i) { return (u + i * options_.kv_heads) * group + g; };
      float high = -INFINITY, total = 0;
      for (int64_t i = 0; i < s.count; ++i) high = std::max(high, parts_[unit(i)].high);
      std::fill_n(out, dim, 0.0f);
      for (int64_t i = 0; i < s.count; ++i) {
        const float share = std::exp(parts_[unit(i)].high - high);
        total += share * parts_[unit(i)].total;
        for (int64_t c = 0; c < dim; ++c) out[c] += share * partial_[unit(i) * dim + c];
      }
      for (int64_t c = 0; c < dim; ++c) out[c] /= total;
    }
  }
}

template void InferenceEngine::attend<float>(Pass&, int64_t, Scratch&, const Team::Member&);
template void InferenceEngine::attend<uint16_t>(Pass&, int64_t, Scratch&, const Team::Member&);

}  // namespace continuo
