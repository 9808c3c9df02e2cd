// The attention of the CPU's engine: queries and keys normalised and rotated, keys and values
// written into pages, pages attended to one by one and merged in ascending order.
#include <algorithm>

#include "nn/cpu/engine.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"

namespace continuo {

// The norm of a query or key, where the family has one for every head, and its rotation.
void CpuEngine::rotate(const EnginePass& pass, int64_t layer, int64_t row, const EngineNorm& norm,
                       float* x) const {
  const Attend& attend = layers_[layer].attend().spec;
  if (attend.qk_norm == QkNorm::head) norm.apply(attend.dim, x, x);
  const Rotation* rotation = pass.rotations[layer];
  if (!rotation) return;
  kernels().f32.rope({.rows = 1,
                      .heads = 1,
                      .dim = 2 * rotation->cos.size(1),
                      .in = x,
                      .positions = data<int64_t>(rotation->rows) + row,
                      .cos = data<float>(rotation->cos),
                      .sin = data<float>(rotation->sin),
                      .sign = 1.0f,
                      .out = x});
}

// Biases of queries, keys and values, and norms over all their heads.
void CpuEngine::finish_projections(const EnginePass& pass, const EngineLayer& l,
                                   const Team::Member& member) {
  const auto& [heads, kv_heads, dim, window, scale, softcap, rotary, qk_norm, biases, output_bias] =
      l.attend().spec;
  if (l.in_bias.empty() && qk_norm != QkNorm::whole) return;
  for (int64_t r = member.begin(pass.rows); r < member.end(pass.rows); ++r) {
    float* row = mixer_in_.data() + r * matrices_[l.in].stride_out();
    for (size_t i = 0; i < l.in_bias.size(); ++i) row[i] += l.in_bias[i];
    if (qk_norm != QkNorm::whole) continue;
    float* keys = row + heads * dim;
    l.attend().query_norm.apply(heads * dim, row, row);
    l.attend().key_norm.apply(kv_heads * dim, keys, keys);
  }
  member.wait();
}

// Rotates the key that a row has for a KV head, and writes it into its page with the value.
template <class T>
void CpuEngine::write_token(const EnginePass& pass, int64_t layer, int64_t row, int64_t head) {
  const EngineLayer& l = layers_[layer];
  const int64_t dim = l.attend().spec.dim, position = pass.positions[row];
  float* key =
      mixer_in_.data() + row * matrices_[l.in].stride_out() + (l.attend().spec.heads + head) * dim;
  rotate(pass, layer, row, l.attend().key_norm, key);
  const PagedKVCache::HeadPage page =
      pass.cache.head_page(pass.sequences[pass.documents[row]], layer, position / kPageKeys, head);
  kernels().page<T>().write({.key_dim = dim,
                             .value_dim = dim,
                             .at = position % kPageKeys,
                             .key = key,
                             .value = key + l.attend().spec.kv_heads * dim,
                             .keys = reinterpret_cast<T*>(page.keys),
                             .values = reinterpret_cast<T*>(page.values),
                             .key_scales = page.key_scales,
                             .value_scales = page.value_scales});
}

// Divides by what the weights sum up to, and puts a tile's heads where the output's product reads
// them.
void CpuEngine::write_attended(const EngineLayer& l, const AttentionTile& tile, int64_t head,
                               const AttentionPart* parts, const float* out) {
  const int64_t dim = l.attend().spec.dim, group = l.attend().spec.heads / l.attend().spec.kv_heads,
                width = padded_dim(dim), stride = matrices_[l.out].stride_in();
  for (int64_t q = 0; q < tile.count * group; ++q) {
    float* to = mixed_.data() + (tile.row + q / group) * stride;
    const float inverse = 1 / parts[q].total;
    float* own = to + (head * group + q % group) * dim;
    for (int64_t i = 0; i < dim; ++i) own[i] = out[q * width + i] * inverse;
    if (head + 1 == l.attend().spec.kv_heads)
      std::fill(to + l.attend().spec.heads * dim, to + stride, 0.0f);
  }
}

template <class T>
void CpuEngine::attend_unit(const EnginePass& pass, int64_t layer, const AttentionUnit& unit,
                            int64_t head, AttentionScratch& s) {
  const EngineLayer& l = layers_[layer];
  const auto& [heads, kv_heads, dim, window, scale, softcap, rotary, qk_norm, biases, output_bias] =
      l.attend().spec;
  const AttentionPlan& plan = pass.plan(layer);
  const AttentionTile& tile = plan.tiles[unit.tile];
  const int64_t group = heads / kv_heads, queries = tile.count * group, width = padded_dim(dim);
  s.fit(queries, dim, dim);
  for (int64_t q = 0; q < queries; ++q) {
    const int64_t row = tile.row + q / group;
    float* query = s.query.data() + q * dim;
    std::copy_n(
        mixer_in_.data() + row * matrices_[l.in].stride_out() + (head * group + q % group) * dim,
        dim, query);
    rotate(pass, layer, row, l.attend().query_norm, query);
  }
  if (pass.single && unit.index + 1 == tile.units) write_token<T>(pass, layer, tile.row, head);
  std::fill_n(s.parts.begin(), queries, AttentionPart{0, 0});
  for (int64_t p = unit.first_page; p < unit.last_page; ++p) {
    const int64_t begin = p * kPageKeys;
    for (int64_t q = 0; q < queries; ++q) {
      const int64_t position = tile.position + q / group,
                    first = window > 0 ? position - window + 1 : 0;
      s.ranges[q] = {static_cast<int32_t>(std::clamp<int64_t>(first - begin, 0, kPageKeys)),
                     static_cast<int32_t>(std::clamp<int64_t>(position + 1 - begin, 0, kPageKeys))};
    }
    const PagedKVCache::HeadPage page =
        pass.cache.head_page(pass.sequences[tile.document], layer, p, head);
    kernels().page<T>().attend({.queries = queries,
                                .key_dim = dim,
                                .value_dim = dim,
                                .q = s.query.data(),
                                .ranges = s.ranges.data(),
                                .keys = reinterpret_cast<const T*>(page.keys),
                                .values = reinterpret_cast<const T*>(page.values),
                                .key_scales = page.key_scales,
                                .value_scales = page.value_scales,
                                .scale = static_cast<float>(l.attend().spec.score_scale()),
                                .softcap = static_cast<float>(softcap)},
                               s.scores.data(), s.page_parts.data(), s.page_out.data());
    for (int64_t q = 0; q < queries; ++q) {
      kernels().engine.merge(width, s.page_parts[q], s.page_out.data() + q * width, s.parts[q],
                             s.out.data() + q * width);
    }
  }
  if (tile.units == 1) return write_attended(l, tile, head, s.parts.data(), s.out.data());
  const int64_t at = head * plan.queries + tile.first_query + unit.index * queries;
  std::copy_n(s.parts.begin(), queries, parts_.begin() + at);
  std::copy_n(s.out.begin(), queries * width, partial_.begin() + at * width);
}

// Puts the attention of a tile whose pages were dealt apart together again.
void CpuEngine::merge_units(const EnginePass& pass, int64_t layer, const AttentionTile& tile,
                            int64_t head) {
  const EngineLayer& l = layers_[layer];
  const int64_t queries = tile.count * (l.attend().spec.heads / l.attend().spec.kv_heads),
                width = padded_dim(l.attend().spec.dim),
                at = head * pass.plan(layer).queries + tile.first_query;
  for (int64_t unit = 1; unit < tile.units; ++unit) {
    for (int64_t q = 0; q < queries; ++q) {
      const int64_t later = at + unit * queries + q;
      kernels().engine.merge(width, parts_[later], partial_.data() + later * width, parts_[at + q],
                             partial_.data() + (at + q) * width);
    }
  }
  write_attended(l, tile, head, parts_.data() + at, partial_.data() + at * width);
}

// Where every document has one row, the unit that sees the new key writes it, and no member waits
// for another.
template <class T>
void CpuEngine::attend_in(const EnginePass& pass, int64_t layer, const Team::Member& member) {
  const EngineLayer& l = layers_[layer];
  const int64_t kv_heads = l.attend().spec.kv_heads;
  finish_projections(pass, l, member);
  if (!pass.single) {
    const int64_t tokens = pass.rows * kv_heads;
    for (int64_t u = member.begin(tokens); u < member.end(tokens); ++u)
      write_token<T>(pass, layer, u / kv_heads, u % kv_heads);
    member.wait();
  }
  // Units are dealt round, because later rows of a document see more keys than earlier ones.
  const AttentionPlan& plan = pass.plan(layer);
  const int64_t units = std::ssize(plan.units) * kv_heads;
  for (int64_t u = member.rank; u < units; u += member.size) {
    attend_unit<T>(pass, layer, plan.units[u / kv_heads], u % kv_heads,
                   scratch_[member.rank].attention);
  }
  if (plan.queries == 0) return;
  member.wait();
  const int64_t merged = std::ssize(plan.tiles) * kv_heads;
  for (int64_t u = member.rank; u < merged; u += member.size) {
    const AttentionTile& tile = plan.tiles[u / kv_heads];
    if (tile.units > 1) merge_units(pass, layer, tile, u % kv_heads);
  }
}

void CpuEngine::attend(const EnginePass& pass, int64_t layer, const Team::Member& member) {
  switch (pass.cache.layer(layer).format) {
    case KVFormat::f32:
      return attend_in<float>(pass, layer, member);
    case KVFormat::bf16:
      return attend_in<uint16_t>(pass, layer, member);
    case KVFormat::q8:
      return attend_in<int8_t>(pass, layer, member);
  }
}

}  // namespace continuo
