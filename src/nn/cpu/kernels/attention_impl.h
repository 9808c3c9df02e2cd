// The kernels of attention.h. Included by kernels_impl.cpp only.
//
// Scores are held transposed, [key][query]: sixteen queries lie side by side in a vector, so that
// maxima and sums over keys need no folding, and the same tile serves as left operand of dK and dV
// (rows of queries) and of O and dQ (columns).
#pragma once

#include "nn/cpu/kernels/attention.h"
#include "nn/cpu/kernels/tile_impl.h"

namespace continuo {
namespace {

constexpr int64_t kTile = kAttentionTile;
constexpr int kTileVectors = static_cast<int>(kTile) / kLanes;
constexpr float kUnseen = -1e30f;  // finite: differences of two of them stay numbers

// e^x as exactly as its use deserves: bfloat16 keeps eight bits of it.
template <class T>
inline Vec probability(Vec x) {
  return exp_nonpositive<(kDepth<T> == 2 ? 4 : 7)>(x);
}

// rows ≤ kTile rows x [rows, dim] → columns [dim / kDepth][kTile][kDepth], zeros beyond the rows up
// to whole vectors.
template <class T>
void pack_columns(int64_t rows, int64_t dim, int64_t stride, const T* x, T* columns) {
  constexpr int64_t kElements = 4 / sizeof(T);  // of 32 bits
  auto* to = reinterpret_cast<uint32_t*>(columns);
  const int64_t depth = dim / kDepth<T>;
  static_assert(kElements == kDepth<T>);
  for (int64_t r = 0; r < rows; r += kLanes) {
    for (int64_t k = 0; k < depth; k += kLanes) {
      const int64_t width = smaller(depth - k, kLanes);  // a multiple of 8
      VecU block[kLanes];
      for (int64_t i = 0; i < kLanes; ++i) {
        const T* row = x + (r + i) * stride + k * kElements;
        if (r + i < rows && width == kLanes) {
          block[i] = load_as<VecU>(row);
        } else {
          uint32_t values[kLanes] = {};
          if (r + i < rows) std::memcpy(values, row, width * sizeof(uint32_t));
          block[i] = load_as<VecU>(values);
        }
      }
      transpose(block);
      for (int64_t i = 0; i < width; ++i) store_as(to + (k + i) * kTile + r, block[i]);
    }
  }
}

// Rows x [rows, dim] → [⌈rows / 2⌉][dim][2], the second of an odd last pair zero.
void pack_pairs(int64_t rows, int64_t dim, int64_t stride, const uint16_t* x, uint16_t* pairs) {
  for (int64_t r = 0; r < rows; r += 2, x += 2 * stride, pairs += 2 * dim) {
    for (int64_t i = 0; i < dim; i += kLanes) {
      const VecU even = convert<VecU>(load_as<VecH>(x + i));
      const VecU odd = r + 1 < rows ? convert<VecU>(load_as<VecH>(x + stride + i)) : VecU{};
      const VecU both = even | (odd << 16);
      store_as(pairs + 2 * i, both);
    }
  }
}

// Rows of a document as right operand: as they are, or in pairs.
template <class T>
struct RightRows {
  const T* rows;
  int64_t step;  // elements between steps along k
  const T* at(int64_t row) const { return rows + row / kDepth<T> * step; }
};

template <class T>
RightRows<T> right_rows(int64_t n, int64_t dim, int64_t stride, const T* x, T* pairs) {
  if constexpr (kDepth<T> == 1) {
    return {x, stride};
  } else {
    pack_pairs(n, dim, stride, x, pairs);
    return {pairs, 2 * dim};
  }
}

inline VecU rounded_bits(Vec v) {
  const VecU bits = bits_as<VecU>(v);
  return bits + 0x7fffu + ((bits >> 16) & 1u);
}

// Two rows of a tile as values of a left operand whose k runs over the rows: [row /
// kDepth][kTile][kDepth].
inline void store_steps(float* tile, int64_t row, int64_t column, Vec even, Vec odd) {
  store(tile + row * kTile + column, even);
  store(tile + (row + 1) * kTile + column, odd);
}
inline void store_steps(uint16_t* tile, int64_t row, int64_t column, Vec even, Vec odd) {
#if defined(__AVX512BF16__)
  const __m512i apart = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
  alignas(64) static constexpr uint16_t kTurns[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                      21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const auto both = (VecU)_mm512_permutexvar_epi16(_mm512_load_si512(kTurns), apart);
#else
  const VecU both = (rounded_bits(even) >> 16) | (rounded_bits(odd) & 0xffff0000u);
#endif
  store_as(tile + row * kTile + 2 * column, both);
}

// Of a tile's queries that begin at position `first`, the lanes of vector v that see key j.
struct Sight {
  int64_t first;   // position of the tile's first query among the keys
  int64_t window;  // 0: none
  // The first vector with a query that sees key j or a later one.
  int64_t first_vector(int64_t j) const { return j <= first ? 0 : (j - first) / kLanes; }
  // True when every query of the tile sees all keys of [j, j + count).
  bool all(int64_t j, int64_t count) const {
    return j + count - 1 <= first && (window == 0 || j > first + kTile - 1 - window);
  }
  Vec hide(Vec scores, int64_t v, int64_t j) const {
    static constexpr int32_t kNumbers[kLanes] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                 8, 9, 10, 11, 12, 13, 14, 15};
    // query − key
    const VecI distance = load_as<VecI>(kNumbers) + static_cast<int32_t>(first + v * kLanes - j);
    VecI hidden = distance < 0;
    if (window > 0) hidden |= distance >= static_cast<int32_t>(window);
    return select(hidden, splat(kUnseen), scores);
  }
  // Keys that some query of the tile sees, from a multiple of kTile on.
  int64_t first_key() const {
    return window > 0 ? larger(0, first - window + 1) / kTile * kTile : 0;
  }
};

// S [keys][queries of the tile] = K · Qᵀ; vectors before Sight::first_vector are left as they are.
template <class T>
void score_tile(const AttentionShape& s, const Sight& sight, int64_t key, int64_t count,
                int64_t vectors, const T* rows, const T* columns, float* tile) {
  for (int64_t r = 0; r < count; r += kProductRows) {
    const int64_t v = sight.first_vector(key + r);
    if (v >= vectors) break;
    product_rows<T>(smaller(kProductRows, count - r), vectors - v, s.dim / kDepth<T>,
                    rows + (key + r) * s.key_stride, {s.key_stride, kDepth<T>},
                    columns + v * kLanes * kDepth<T>, kTile * kDepth<T>,
                    tile + r * kTile + v * kLanes, kTile, false);
  }
}

// Parts of a scratch area, each aligned to a cache line.
struct Scratch {
  std::byte* memory;  // nullptr: only the size is asked for
  int64_t used = 0;
  template <class T>
  T* take(int64_t n) {
    T* p = memory ? reinterpret_cast<T*>(memory + used) : nullptr;
    used += (n * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return p;
  }
};

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

template <class T>
void attention_forward(const AttentionShape& s, int64_t begin, int64_t end, const T* q, const T* k,
                       const T* v, const T* packed, T* out, float* lse, std::byte* memory) {
  Scratch area{memory};
  const ForwardScratch<T> m = ForwardScratch<T>::of(s.dim, area);
  const int64_t count = end - begin, vectors = (count + kLanes - 1) / kLanes, dims = s.dim / kLanes;
  const Sight sight{s.past + begin, s.window};
  const RightRows<T> values =
      kDepth<T> == 1 ? RightRows<T>{v, s.key_stride} : RightRows<T>{packed, 2 * s.dim};
  pack_columns(count, s.dim, s.query_stride, q + begin * s.query_stride, m.columns);
  for (int64_t i = 0; i < count * s.dim; i += kLanes) store(m.out + i, Vec{});
  Vec high[kTileVectors], total[kTileVectors];
  for (int i = 0; i < kTileVectors; ++i) high[i] = splat(kUnseen), total[i] = Vec{};

  const int64_t keys = s.past + end;
  for (int64_t key = sight.first_key(); key < keys; key += kTile) {
    const int64_t n = smaller(kTile, keys - key);
    const bool all = sight.all(key, n);
    score_tile(s, sight, key, n, vectors, k, m.columns, m.scores);
    for (int64_t c = 0; c < vectors; ++c) {
      float* column = m.scores + c * kLanes;
      Vec top = high[c];
      for (int64_t j = 0; j < n; ++j) {
        Vec x = load(column + j * kTile);
        if (!all) {
          x = sight.hide(x, c, key + j);  // hides also what was not computed
          store(column + j * kTile, x);
        }
        top = max(top, x * s.scale);
      }
      Vec sum_of_tile{};
      const auto weight = [&](int64_t j) {
        return probability<T>(load(column + j * kTile) * s.scale - top);
      };
      for (int64_t j = 0; j < n; j += 2) {
        const Vec even = weight(j), odd = j + 1 < n ? weight(j + 1) : Vec{};
        sum_of_tile += even + odd;
        store_steps(m.probabilities, j, c * kLanes, even, odd);
      }
      const Vec fade = probability<T>(high[c] - top);
      store(m.fade + c * kLanes, fade);
      total[c] = total[c] * fade + sum_of_tile;
      high[c] = top;
    }
    for (int64_t i = 0; i < count; i += kProductRows) {
      const int64_t rows = smaller(kProductRows, count - i);
      for (int64_t r = i; r < i + rows; ++r) {
        if (m.fade[r] == 1.0f) continue;
        const Vec f = splat(m.fade[r]);
        for (int64_t d = 0; d < s.dim; d += kLanes)
          store(m.out + r * s.dim + d, load(m.out + r * s.dim + d) * f);
      }
      const int64_t seen = smaller(n, sight.first + i + rows - key);
      if (seen <= 0) continue;
      product_rows<T>(rows, dims, (seen + kDepth<T> - 1) / kDepth<T>,
                      m.probabilities + i * kDepth<T>, {kDepth<T>, kTile * kDepth<T>},
                      values.at(key), values.step, m.out + i * s.dim, s.dim, true);
    }
  }
  for (int64_t c = 0; c < vectors; ++c) {
    store(m.total + c * kLanes, total[c]);
    store(m.high + c * kLanes, high[c]);
  }
  for (int64_t i = 0; i < count; ++i) {
    const Vec inverse = splat(1.0f / m.total[i]);
    for (int64_t d = 0; d < s.dim; d += kLanes) {
      store(out + (begin + i) * s.query_stride + d, load(m.out + i * s.dim + d) * inverse);
    }
    lse[begin + i] = m.high[i] + static_cast<float>(__builtin_log(static_cast<double>(m.total[i])));
  }
}

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

// P and dS = P · (dP − delta) · scale of one tile, in the forms of the products that follow.
template <class T>
void probability_tile(const AttentionShape& s, const Sight& sight, int64_t key, int64_t keys,
                      int64_t vectors, const float* lse, const float* delta,
                      const BackwardScratch<T>& m) {
  const bool all = sight.all(key, keys);
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

template <class T>
void attention_backward(const AttentionShape& s, int64_t part, int64_t parts, const T* q,
                        const T* k, const T* v, const T* out, const T* dout, const float* lse,
                        float* dq, float* dk, float* dv, std::byte* memory) {
  Scratch area{memory};
  const BackwardScratch<T> m = BackwardScratch<T>::of(s.queries, s.dim, area);
  const int64_t n = s.queries, dim = s.dim, dims = dim / kLanes, tiles = attention_tiles(n);
  const RightRows<T> q_right = right_rows(n, dim, s.query_stride, q, m.q_pairs);
  const RightRows<T> dout_right = right_rows(n, dim, s.query_stride, dout, m.dout_pairs);
  const RightRows<T> k_right = right_rows(n, dim, s.key_stride, k, m.k_pairs);
  for (int64_t i = 0; i < tiles * kTile; i += kLanes) {
    store(m.lse + i, splat(-kUnseen));  // beyond the document: probability 0
    store(m.delta + i, Vec{});
  }
  for (int64_t i = 0; i < n; ++i) {
    Vec dot{};
    for (int64_t d = 0; d < dim; d += kLanes) {
      dot += load(out + i * s.query_stride + d) * load(dout + i * s.query_stride + d);
    }
    m.delta[i] = sum(dot);
    m.lse[i] = lse[i];
  }
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t begin = t * kTile, count = smaller(kTile, n - begin);
    pack_columns(count, dim, s.query_stride, q + begin * s.query_stride, m.q_columns + begin * dim);
    pack_columns(count, dim, s.query_stride, dout + begin * s.query_stride,
                 m.dout_columns + begin * dim);
  }
  for (int64_t i = 0; i < n * dim; i += kLanes) store(dq + i, Vec{});
  for (int64_t key = part * kTile; key < n; key += parts * kTile) {
    const int64_t keys = smaller(kTile, n - key);
    for (int64_t i = key * dim; i < (key + keys) * dim; i += kLanes) {
      store(dk + i, Vec{});
      store(dv + i, Vec{});
    }
    for (int64_t begin = key; begin < n; begin += kTile) {
      if (s.window > 0 && begin - (key + keys - 1) >= s.window) break;
      const int64_t count = smaller(kTile, n - begin), vectors = (count + kLanes - 1) / kLanes;
      const Sight sight{begin, s.window};
      score_tile(s, sight, key, keys, vectors, k, m.q_columns + begin * dim, m.scores);
      score_tile(s, sight, key, keys, vectors, v, m.dout_columns + begin * dim, m.dp);
      probability_tile(s, sight, key, keys, vectors, m.lse + begin, m.delta + begin, m);
      for (int64_t j = 0; j < keys; j += kProductRows) {
        const int64_t rows = smaller(kProductRows, keys - j);
        const int64_t skipped =
            larger(0, key + j - begin) / kDepth<T>;  // queries before the first of these keys
        const int64_t steps = (count + kDepth<T> - 1) / kDepth<T> - skipped;
        const int64_t at = j * kTile + skipped * kDepth<T>, first = begin + skipped * kDepth<T>;
        if (steps <= 0) continue;
        product_rows<T>(rows, dims, steps, m.p_rows + at, {kTile, kDepth<T>}, dout_right.at(first),
                        dout_right.step, dv + (key + j) * dim, dim, true);
        product_rows<T>(rows, dims, steps, m.ds_rows + at, {kTile, kDepth<T>}, q_right.at(first),
                        q_right.step, dk + (key + j) * dim, dim, true);
      }
      for (int64_t i = 0; i < count; i += kProductRows) {
        const int64_t rows = smaller(kProductRows, count - i),
                      seen = smaller(keys, begin + i + rows - key);
        product_rows<T>(rows, dims, (seen + kDepth<T> - 1) / kDepth<T>, m.ds_steps + i * kDepth<T>,
                        {kDepth<T>, kTile * kDepth<T>}, k_right.at(key), k_right.step,
                        dq + (begin + i) * dim, dim, true);
      }
    }
  }
}

template <class T>
void sum_heads(int64_t n, int64_t dim, int64_t group, int64_t part_stride, const float* parts,
               int64_t stride, T* to) {
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t d = 0; d < dim; d += kLanes) {
      Vec total{};
      for (int64_t g = 0; g < group; ++g) total += load(parts + g * part_stride + t * dim + d);
      store(to + t * stride + d, total);
    }
  }
}

template <class T>
constexpr AttentionKernels<T> attention_table() {
  return {
      attention_forward_scratch<T>, attention_backward_scratch<T>, packed_values<T>, pack_values<T>,
      attention_forward<T>,         attention_backward<T>,         sum_heads<T>};
}

}  // namespace
}  // namespace continuo
