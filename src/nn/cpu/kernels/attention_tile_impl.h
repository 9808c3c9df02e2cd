// What the kernels of attention.h do with one tile. Included by kernels_impl.cpp only.
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
      const VecU even = load_wide(x + i);
      const VecU odd = r + 1 < rows ? load_wide(x + stride + i) : VecU{};
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

// A tile of scores: the keys [key, key + keys), and the queries that `sight` is of.
struct ScoreTile {
  Sight sight;
  int64_t key, keys, queries;

  int64_t vectors() const { return (queries + kLanes - 1) / kLanes; }
  bool all_seen() const { return sight.all(key, keys); }
};

// S [keys][queries of the tile] = K · Qᵀ; vectors before Sight::first_vector are left as they are.
// rows: the document's keys; columns: the tile's queries.
template <class T>
void score_tile(const AttentionShape& s, const ScoreTile& t, const T* rows, const T* columns,
                float* scores) {
  const int64_t vectors = t.vectors();
  for (int64_t r = 0; r < t.keys; r += kProductRows) {
    const int64_t v = t.sight.first_vector(t.key + r);
    if (v >= vectors) break;
    product_rows<T>({.rows = smaller(kProductRows, t.keys - r),
                     .vectors = vectors - v,
                     .steps = s.dim / kDepth<T>,
                     .a = rows + (t.key + r) * s.key_stride,
                     .a_step = {s.key_stride, kDepth<T>},
                     .b = columns + v * kLanes * kDepth<T>,
                     .b_step = kTile * kDepth<T>,
                     .c = scores + r * kTile + v * kLanes,
                     .c_row = kTile,
                     .add = false});
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

}  // namespace
}  // namespace continuo
