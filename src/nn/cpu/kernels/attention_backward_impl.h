// The backward pass of attention.h. Included by kernels_impl.cpp only.
#pragma once

#include "nn/cpu/kernels/attention_tile_impl.h"

namespace continuo {
namespace {

template <class T>
struct BackwardScratch {
  T *q_columns, *dout_columns, *q_pairs, *dout_pairs, *k_pairs;  // of the whole document
  T *p_rows, *ds_rows, *ds_steps;                                // tiles
  float *lse, *delta, *scores, *dp;
  static BackwardScratch of(int64_t queries, int64_t dim, Scratch& s) {
    const int64_t n = attention_tiles(queries) * kTile, pairs = kDepth<T> == 2 ? n * dim : 0,
                  tile = kTile * kTile;
    T* ds = s.take<T>(tile);
    return {s.take<T>(n * dim),
            s.take<T>(n * dim),
            s.take<T>(pairs),
            s.take<T>(pairs),
            s.take<T>(pairs),
            s.take<T>(tile),
            ds,
            kDepth<T> == 2 ? s.take<T>(tile) : ds,
            s.take<float>(n),
            s.take<float>(n),
            s.take<float>(tile),
            s.take<float>(tile)};
  }
};

template <class T>
int64_t attention_backward_scratch(int64_t queries, int64_t dim) {
  Scratch s{nullptr};
  BackwardScratch<T>::of(queries, dim, s);
  return s.used;
}

template <class T>
RightRows<T> right_rows(int64_t n, int64_t dim, int64_t stride, const T* x, T* pairs) {
  if constexpr (kDepth<T> == 1) {
    return {x, stride};
  } else {
    pack_pairs(n, dim, stride, x, pairs);
    return {pairs, 2 * dim};
  }
}

// What a head's tiles have in common: its shape, its tensors, and what was packed of them.
template <class T>
struct BackwardPass {
  const AttentionShape& shape;
  const AttentionBackward<T>& head;
  BackwardScratch<T> m;
  RightRows<T> q, dout, k;
};

// Packs a head's tensors, and m.delta = Σ out · dout of every query.
template <class T>
BackwardPass<T> prepare_backward(const AttentionShape& s, const AttentionBackward<T>& head,
                                 const BackwardScratch<T>& m) {
  const int64_t n = s.queries, dim = s.dim, tiles = attention_tiles(n);
  const BackwardPass<T> pass = {.shape = s,
                                .head = head,
                                .m = m,
                                .q = right_rows(n, dim, s.query_stride, head.q, m.q_pairs),
                                .dout = right_rows(n, dim, s.query_stride, head.dout, m.dout_pairs),
                                .k = right_rows(n, dim, s.key_stride, head.k, m.k_pairs)};
  for (int64_t i = 0; i < tiles * kTile; i += kLanes) {
    store(m.lse + i, splat(-kUnseen));  // beyond the document: probability 0
    store(m.delta + i, Vec{});
  }
  for (int64_t i = 0; i < n; ++i) {
    Vec dot{};
    for (int64_t d = 0; d < dim; d += kLanes) {
      dot += load(head.out + i * s.query_stride + d) * load(head.dout + i * s.query_stride + d);
    }
    m.delta[i] = sum(dot);
    m.lse[i] = head.lse[i];
  }
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t begin = t * kTile, count = smaller(kTile, n - begin);
    pack_columns(count, dim, s.query_stride, head.q + begin * s.query_stride,
                 m.q_columns + begin * dim);
    pack_columns(count, dim, s.query_stride, head.dout + begin * s.query_stride,
                 m.dout_columns + begin * dim);
  }
  return pass;
}

// P and dS = P · (dP − delta) · scale of one tile, in the forms of the products that follow.
template <class T>
void probability_tile(const AttentionShape& s, const ScoreTile& t, const BackwardScratch<T>& m) {
  const Sight sight = t.sight;
  const int64_t key = t.key, keys = t.keys, vectors = t.vectors();
  const bool all = t.all_seen();
  const float *lse = m.lse + sight.first, *delta = m.delta + sight.first;
  for (int64_t c = 0; c < vectors; ++c) {
    const int64_t column = c * kLanes;
    const Vec shift = load(lse + column), mean = load(delta + column);
    for (int64_t j = 0; j < keys; j += 2) {
      Vec p[2] = {}, ds[2] = {};
      for (int64_t h = 0; h < 2 && j + h < keys; ++h) {
        const int64_t r = j + h;
        if (!all && c < sight.first_vector(key + r / kProductRows * kProductRows))
          continue;  // zeros: nothing is seen
        Vec x = load(m.scores + r * kTile + column) * s.scale - shift;
        if (!all) x = sight.hide(x, c, key + r);
        p[h] = probability<T>(x);
        ds[h] = p[h] * (load(m.dp + r * kTile + column) - mean) * s.scale;
      }
      for (int64_t h = 0; h < 2 && j + h < keys; ++h) {
        store(m.p_rows + (j + h) * kTile + column, p[h]);
        if constexpr (kDepth<T> == 2) store(m.ds_rows + (j + h) * kTile + column, ds[h]);
      }
      store_steps(m.ds_steps, j, column, ds[0], ds[1]);
    }
  }
}

// dV += Pᵀ · dO and dK += dSᵀ · Q of a tile.
template <class T>
void add_key_gradients(const BackwardPass<T>& pass, const ScoreTile& t) {
  const BackwardScratch<T>& m = pass.m;
  const int64_t dim = pass.shape.dim, begin = t.sight.first;
  for (int64_t j = 0; j < t.keys; j += kProductRows) {
    const int64_t skipped =
        larger(0, t.key + j - begin) / kDepth<T>;  // queries before the first of these keys
    const int64_t steps = (t.queries + kDepth<T> - 1) / kDepth<T> - skipped;
    const int64_t at = j * kTile + skipped * kDepth<T>, first = begin + skipped * kDepth<T>;
    if (steps <= 0) continue;
    TileProduct<T> product = {.rows = smaller(kProductRows, t.keys - j),
                              .vectors = dim / kLanes,
                              .steps = steps,
                              .a = m.p_rows + at,
                              .a_step = {kTile, kDepth<T>},
                              .b = pass.dout.at(first),
                              .b_step = pass.dout.step,
                              .c = pass.head.dv + (t.key + j) * dim,
                              .c_row = dim,
                              .add = true};
    product_rows(product);
    product.a = m.ds_rows + at;
    product.b = pass.q.at(first);
    product.b_step = pass.q.step;
    product.c = pass.head.dk + (t.key + j) * dim;
    product_rows(product);
  }
}

// dQ += dS · K of a tile.
template <class T>
void add_query_gradients(const BackwardPass<T>& pass, const ScoreTile& t) {
  const int64_t dim = pass.shape.dim, begin = t.sight.first;
  for (int64_t i = 0; i < t.queries; i += kProductRows) {
    const int64_t rows = smaller(kProductRows, t.queries - i),
                  seen = smaller(t.keys, begin + i + rows - t.key);
    product_rows<T>({.rows = rows,
                     .vectors = dim / kLanes,
                     .steps = (seen + kDepth<T> - 1) / kDepth<T>,
                     .a = pass.m.ds_steps + i * kDepth<T>,
                     .a_step = {kDepth<T>, kTile * kDepth<T>},
                     .b = pass.k.at(t.key),
                     .b_step = pass.k.step,
                     .c = pass.head.dq + (begin + i) * dim,
                     .c_row = dim,
                     .add = true});
  }
}

template <class T>
void attention_backward(const AttentionShape& s, const AttentionBackward<T>& head, int64_t part,
                        int64_t parts, std::byte* memory) {
  Scratch area{memory};
  const BackwardScratch<T> m = BackwardScratch<T>::of(s.queries, s.dim, area);
  const BackwardPass<T> pass = prepare_backward(s, head, m);
  const int64_t n = s.queries, dim = s.dim;
  for (int64_t i = 0; i < n * dim; i += kLanes) store(head.dq + i, Vec{});
  for (int64_t key = part * kTile; key < n; key += parts * kTile) {
    const int64_t keys = smaller(kTile, n - key);
    for (int64_t i = key * dim; i < (key + keys) * dim; i += kLanes) {
      store(head.dk + i, Vec{});
      store(head.dv + i, Vec{});
    }
    for (int64_t begin = key; begin < n; begin += kTile) {
      if (s.window > 0 && begin - (key + keys - 1) >= s.window) break;
      const ScoreTile tile = {.sight = {begin, s.window},
                              .key = key,
                              .keys = keys,
                              .queries = smaller(kTile, n - begin)};
      score_tile(s, tile, head.k, m.q_columns + begin * dim, m.scores);
      score_tile(s, tile, head.v, m.dout_columns + begin * dim, m.dp);
      probability_tile(s, tile, m);
      add_key_gradients(pass, tile);
      add_query_gradients(pass, tile);
    }
  }
}

}  // namespace
}  // namespace continuo
