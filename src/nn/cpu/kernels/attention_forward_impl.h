// The forward pass of attention.h. Included by kernels_impl.cpp only.
#pragma once

#include "nn/cpu/kernels/attention_tile_impl.h"

namespace continuo {
namespace {

template <class T>
struct ForwardScratch {
  T *columns, *probabilities;
  float *scores, *out, *high, *total, *fade;
  static ForwardScratch of(int64_t dim, Scratch& s) {
    return {s.take<T>(kTile * dim),     s.take<T>(kTile * kTile), s.take<float>(kTile * kTile),
            s.take<float>(kTile * dim), s.take<float>(kTile),     s.take<float>(kTile),
            s.take<float>(kTile)};
  }
};

template <class T>
int64_t attention_forward_scratch(int64_t dim) {
  Scratch s{nullptr};
  ForwardScratch<T>::of(dim, s);
  return s.used;
}

template <class T>
int64_t packed_values(int64_t n, int64_t dim) {
  return kDepth<T> == 1 ? 0 : (n + 1) / 2 * 2 * dim;
}

template <class T>
void pack_values(int64_t n, int64_t dim, int64_t stride, const T* values, T* packed) {
  if constexpr (kDepth<T> == 2) pack_pairs(n, dim, stride, values, packed);
}

// Of every query of a tile, over the keys so far: the highest score, and the sum of e^(score − it).
struct RunningSoftmax {
  Vec high[kTileVectors], total[kTileVectors];

  RunningSoftmax() {
    for (int i = 0; i < kTileVectors; ++i) high[i] = splat(kUnseen), total[i] = Vec{};
  }
};

// Takes a tile of scores in: they become e^(score − high) in m.probabilities, as left operand, and
// m.fade says what is left of the outputs so far.
template <class T>
void weigh_scores(const AttentionShape& s, const ScoreTile& t, const ForwardScratch<T>& m,
                  RunningSoftmax& softmax) {
  const Sight sight = t.sight;
  const int64_t key = t.key, n = t.keys, vectors = t.vectors();
  const bool all = t.all_seen();
  const float scale = s.scale;
  T* probabilities = m.probabilities;
  for (int64_t c = 0; c < vectors; ++c) {
    float* column = m.scores + c * kLanes;
    Vec top = softmax.high[c];
    for (int64_t j = 0; j < n; ++j) {
      Vec x = load(column + j * kTile);
      if (!all) {
        x = sight.hide(x, c, key + j);  // hides also what was not computed
        store(column + j * kTile, x);
      }
      top = max(top, x * scale);
    }
    Vec sum_of_tile{};
    const auto weight = [&](int64_t j) {
      return probability<T>(load(column + j * kTile) * scale - top);
    };
    for (int64_t j = 0; j < n; j += 2) {
      const Vec even = weight(j), odd = j + 1 < n ? weight(j + 1) : Vec{};
      sum_of_tile += even + odd;
      store_steps(probabilities, j, c * kLanes, even, odd);
    }
    const Vec fade = probability<T>(softmax.high[c] - top);
    store(m.fade + c * kLanes, fade);
    softmax.total[c] = softmax.total[c] * fade + sum_of_tile;
    softmax.high[c] = top;
  }
}

// m.out = fade · m.out + P · V
template <class T>
void add_values(const AttentionShape& s, const ScoreTile& t, const ForwardScratch<T>& m,
                const RightRows<T>& values) {
  for (int64_t i = 0; i < t.queries; i += kProductRows) {
    const int64_t rows = smaller(kProductRows, t.queries - i);
    for (int64_t r = i; r < i + rows; ++r) {
      if (m.fade[r] == 1.0f) continue;
      const Vec f = splat(m.fade[r]);
      for (int64_t d = 0; d < s.dim; d += kLanes)
        store(m.out + r * s.dim + d, load(m.out + r * s.dim + d) * f);
    }
    const int64_t seen = smaller(t.keys, t.sight.first + i + rows - t.key);
    if (seen <= 0) continue;
    product_rows<T>({.rows = rows,
                     .vectors = s.dim / kLanes,
                     .steps = (seen + kDepth<T> - 1) / kDepth<T>,
                     .a = m.probabilities + i * kDepth<T>,
                     .a_step = {kDepth<T>, kTile * kDepth<T>},
                     .b = values.at(t.key),
                     .b_step = values.step,
                     .c = m.out + i * s.dim,
                     .c_row = s.dim,
                     .add = true});
  }
}

// Divides by what the weights sum up to.
template <class T>
void write_outputs(const AttentionShape& s, const AttentionForward<T>& head, int64_t begin,
                   int64_t count, const ForwardScratch<T>& m) {
  for (int64_t i = 0; i < count; ++i) {
    const Vec inverse = splat(1.0f / m.total[i]);
    for (int64_t d = 0; d < s.dim; d += kLanes) {
      store(head.out + (begin + i) * s.query_stride + d, load(m.out + i * s.dim + d) * inverse);
    }
    head.lse[begin + i] =
        m.high[i] + static_cast<float>(__builtin_log(static_cast<double>(m.total[i])));
  }
}

template <class T>
void attention_forward(const AttentionShape& s, const AttentionForward<T>& head, int64_t begin,
                       int64_t end, std::byte* memory) {
  Scratch area{memory};
  const ForwardScratch<T> m = ForwardScratch<T>::of(s.dim, area);
  const int64_t count = end - begin, keys = s.past + end;
  const Sight sight{s.past + begin, s.window};
  const RightRows<T> values =
      kDepth<T> == 1 ? RightRows<T>{head.v, s.key_stride} : RightRows<T>{head.packed, 2 * s.dim};
  pack_columns(count, s.dim, s.query_stride, head.q + begin * s.query_stride, m.columns);
  for (int64_t i = 0; i < count * s.dim; i += kLanes) store(m.out + i, Vec{});
  RunningSoftmax softmax;
  for (int64_t key = sight.first_key(); key < keys; key += kTile) {
    const ScoreTile tile = {
        .sight = sight, .key = key, .keys = smaller(kTile, keys - key), .queries = count};
    score_tile(s, tile, head.k, m.columns, m.scores);
    weigh_scores(s, tile, m, softmax);
    add_values(s, tile, m, values);
  }
  for (int64_t c = 0; c < (count + kLanes - 1) / kLanes; ++c) {
    store(m.total + c * kLanes, softmax.total[c]);
    store(m.high + c * kLanes, softmax.high[c]);
  }
  write_outputs(s, head, begin, count, m);
}

}  // namespace
}  // namespace continuo
