// The kernels of gemm.h. Included by kernels_impl.cpp only. T is what the operands are stored in, P
// what their panels hold. As in tile_impl.h, panels of bfloat16 are multiplied in pairs along k: a
// "unit" is the 32 bits that one lane takes in at once, one float or two bfloat16.
#pragma once

#include "nn/cpu/kernels/gemm.h"
#include "nn/cpu/kernels/tile_impl.h"

namespace continuo {
namespace {

// As many accumulators as the registers hold beside a row of B and one broadcast value.
#if defined(__AVX512F__)
constexpr int kGemmRows = 12, kGemmVectors = 2;
#else
constexpr int kGemmRows = 6, kGemmVectors = 1;
#endif
constexpr int kGemmColumns = kGemmVectors * kLanes;
constexpr int kGemmUnits = 16;  // of k in a block: a cache line of a row

// What panels hold of operands stored as T.
#if defined(__AVX512BF16__)
template <class T>
using Packed = T;
#else
template <class T>
using Packed = float;
#endif

template <class P, class T>
inline P packed_value(T x) {
  if constexpr (sizeof(P) == sizeof(T)) {
    return x;
  } else {
    return to_float(x);
  }
}

// Sixteen units of k that lie one after the other.
template <class P, class T>
inline VecU units_along(const T* from) {
  if constexpr (sizeof(P) == sizeof(T)) {
    return load_as<VecU>(from);
  } else {
    return bits_as<VecU>(load(from));
  }
}

// One unit of k of sixteen rows or columns that lie side by side.
template <class P, class T>
inline VecU units_across(const T* from, int64_t stride) {
  if constexpr (kDepth<P> == 1) {
    return units_along<P>(from);
  } else {
    return load_wide(from) | (load_wide(from + stride) << 16);
  }
}

// Panels of A are blocks of kGemmUnits units of k: [row][unit] where k lay along the rows,
// [unit][row] where it lay across.
template <Along A>
constexpr int left_unit(int row, int unit) {
  return A == Along::rows ? row * kGemmUnits + unit : unit * kGemmRows + row;
}

template <Along A, class P, class T>
void pack_left_panel(int64_t count, int64_t k, const T* from, int64_t stride, int64_t packed_k,
                     P* panel) {
  constexpr int64_t kElements = kDepth<P>, kBlock = kGemmUnits * kElements;
  for (int64_t b = 0; b < packed_k; b += kBlock, panel += kBlock * kGemmRows) {
    const int64_t there = smaller(kBlock, k - b);
    if constexpr (A == Along::rows) {
      for (int64_t r = 0; r < kGemmRows; ++r) {
        const T* row = from + r * stride + b;
        P* to = panel + r * kBlock;
        const int64_t n = r < count ? there : 0;
        if (n == kBlock) {
          store_as(to, units_along<P>(row));
        } else {
          for (int64_t i = 0; i < kBlock; ++i) to[i] = i < n ? packed_value<P>(row[i]) : P{};
        }
      }
    } else {
      for (int64_t i = 0; i < kBlock; i += kElements) {
        const T* row = from + (b + i) * stride;
        P* to = panel + i * kGemmRows;
        for (int64_t r = 0; r < kGemmRows; ++r) {
          for (int64_t e = 0; e < kElements; ++e) {
            to[r * kElements + e] =
                r < count && i + e < there ? packed_value<P>(row[e * stride + r]) : P{};
          }
        }
      }
    }
  }
}

// A panel of A whose k lies across, where sixteen values can be read though kGemmRows are meant.
template <class P, class T>
void pack_left_across(int64_t k, const T* from, int64_t stride, P* panel) {
  static_assert(kGemmRows <= kLanes);
  for (int64_t i = 0; i + kDepth<P> <= k;
       i += kDepth<P>, from += kDepth<P> * stride, panel += kDepth<P> * kGemmRows) {
    if constexpr (sizeof(T) == sizeof(float)) {
      std::memcpy(panel, from, kGemmRows * sizeof(T));
    } else {
      uint32_t units[kLanes];
      store_as(units, units_across<P>(from, stride));
      std::memcpy(panel, units, kGemmRows * sizeof(uint32_t));
    }
  }
}

template <class T>
void gemm_pack_left(const GemmOperand<T>& a, int64_t packed_k, std::byte* memory) {
  const auto [along, count, k, from, stride] = a;
  using P = Packed<T>;
  P* panels = reinterpret_cast<P*>(memory);
  for (int64_t m = 0; m < count; m += kGemmRows, panels += kGemmRows * packed_k) {
    const int64_t rows = smaller(kGemmRows, count - m);
    if (along == Along::rows) {
      pack_left_panel<Along::rows>(rows, k, from + m * stride, stride, packed_k, panels);
    } else if (count - m >= kLanes && k == packed_k) {
      pack_left_across(k, from + m, stride, panels);
    } else {
      pack_left_panel<Along::columns>(rows, k, from + m, stride, packed_k, panels);
    }
  }
}

// Sixteen units of k by sixteen columns of B, all of them there.
template <class P, class T>
inline void load_right(Along along, const T* from, int64_t stride, VecU* block) {
  if (along == Along::rows) {
    for (int64_t i = 0; i < kLanes; ++i) {
      block[i] = units_along<P>(from + i * stride);
      __builtin_prefetch(from + (i + kLanes) * stride);
    }
    transpose(block);
  } else {
    for (int64_t u = 0; u < kLanes; ++u, from += kDepth<P> * stride)
      block[u] = units_across<P>(from, stride);
  }
}

// The same at the edges: `columns` columns and `k` values of k, zeros beyond.
template <class P, class T>
void load_right_edge(Along along, int64_t columns, int64_t k, const T* from, int64_t stride,
                     VecU* block) {
  for (int64_t u = 0; u < kLanes; ++u) {
    P units[kLanes * kDepth<P>];
    for (int64_t i = 0; i < kLanes; ++i) {
      for (int64_t e = 0; e < kDepth<P>; ++e) {
        const int64_t step = u * kDepth<P> + e;
        const bool there = i < columns && step < k;
        units[i * kDepth<P> + e] =
            !there ? P{}
                   : packed_value<P>(along == Along::rows ? from[i * stride + step]
                                                          : from[step * stride + i]);
      }
    }
    block[u] = load_as<VecU>(units);
  }
}

// Panels of B are [unit of k][column].
template <class T>
void gemm_pack_right(const GemmOperand<T>& operand, int64_t packed_k, std::byte* memory) {
  const auto [along, count, k, from, stride] = operand;
  using P = Packed<T>;
  P* panels = reinterpret_cast<P*>(memory);
  constexpr int64_t kBlock = kLanes * kDepth<P>;
  for (int64_t n = 0; n < count; n += kGemmColumns, panels += kGemmColumns * packed_k) {
    for (int64_t c = 0; c < kGemmColumns; c += kLanes) {
      const int64_t columns = smaller(kLanes, count - n - c);
      for (int64_t b = 0; b < packed_k; b += kBlock) {
        const T* at =
            along == Along::rows ? from + (n + c) * stride + b : from + b * stride + n + c;
        VecU block[kLanes];
        if (columns == kLanes && b + kBlock <= k) {
          load_right<P>(along, at, stride, block);
        } else {
          load_right_edge<P>(along, columns, k - b, at, stride, block);
        }
        for (int64_t u = 0; u < kLanes; ++u) {
          store_as(panels + (b + u * kDepth<P>)*kGemmColumns + c * kDepth<P>, block[u]);
        }
      }
    }
  }
}

// One panel of A by one of B.
template <Along A, class T>
inline void gemm_tile(int64_t packed_k, const T* left, const T* right,
                      Vec (&sum)[kGemmRows][kGemmVectors]) {
  constexpr int64_t kElements = kDepth<T>;
  for (int r = 0; r < kGemmRows; ++r) {
    for (int v = 0; v < kGemmVectors; ++v) sum[r][v] = Vec{};
  }
  for (int64_t b = 0; b < packed_k; b += kGemmUnits * kElements) {
#pragma GCC unroll 4
    for (int u = 0; u < kGemmUnits; ++u) {
      typename Operand<T>::Vector row[kGemmVectors];
      for (int v = 0; v < kGemmVectors; ++v) {
        row[v] = Operand<T>::vector(right + (u * kGemmColumns + v * kLanes) * kElements);
      }
      for (int r = 0; r < kGemmRows; ++r) {
        for (int v = 0; v < kGemmVectors; ++v) {
          sum[r][v] =
              Operand<T>::multiply_add(sum[r][v], row[v], left + left_unit<A>(r, u) * kElements);
        }
      }
    }
    left += kGemmUnits * kGemmRows * kElements;
    right += kGemmUnits * kGemmColumns * kElements;
  }
}

// Where a tile of C lies: `rows` rows of `columns` columns.
template <class To>
struct GemmPlace {
  To* c;
  int64_t stride, rows, columns;
};

template <class To>
inline void gemm_add(const GemmPlace<To>& at, Vec (&sum)[kGemmRows][kGemmVectors]) {
  for (int64_t r = 0; r < at.rows; ++r) {
    const To* row = at.c + r * at.stride;
    if (at.columns < kGemmColumns) {
      float values[kGemmColumns];
      for (int64_t i = 0; i < kGemmColumns; ++i) values[i] = i < at.columns ? to_float(row[i]) : 0;
      for (int v = 0; v < kGemmVectors; ++v) sum[r][v] += load(values + v * kLanes);
    } else {
      for (int v = 0; v < kGemmVectors; ++v) sum[r][v] += load(row + v * kLanes);
    }
  }
}

template <class To>
inline void gemm_store(const Vec (&sum)[kGemmRows][kGemmVectors], const GemmPlace<To>& at) {
  for (int64_t r = 0; r < at.rows; ++r) {
    To* row = at.c + r * at.stride;
    if (at.columns < kGemmColumns) {
      float values[kGemmColumns];
      for (int v = 0; v < kGemmVectors; ++v) store(values + v * kLanes, sum[r][v]);
      for (int64_t i = 0; i < at.columns; ++i) put(row + i, values[i]);
    } else {
      for (int v = 0; v < kGemmVectors; ++v) store(row + v * kLanes, sum[r][v]);
    }
  }
}

// Asks for `bytes` from `from` on: the part of them that belongs to tile `tile` of `tiles`.
[[gnu::always_inline]] inline void gemm_fetch(const std::byte* from, int64_t bytes, int64_t tile,
                                              int64_t tiles) {
  for (int64_t at = bytes * tile / tiles; at < bytes * (tile + 1) / tiles; at += 64)
    __builtin_prefetch(from + at, 0, 2);
}

template <Along A, class P, class To>
void gemm_multiply_panels(const GemmPanels<To>& p) {
  const int64_t packed_k = p.packed_k, tiles = (p.rows + kGemmRows - 1) / kGemmRows;
  alignas(64) float partial[kGemmMostRows * kGemmColumns];
  for (int64_t k = 0; k < packed_k; k += kGemmSegment) {
    const int64_t steps = smaller(kGemmSegment, packed_k - k);
    const bool last = k + steps == packed_k;
    const P* right = reinterpret_cast<const P*>(p.right) + kGemmColumns * k;
    for (int64_t t = 0; t < tiles; ++t) {
      const P* left = reinterpret_cast<const P*>(p.left) + kGemmRows * (t * packed_k + k);
      const GemmPlace<To> place = {.c = p.c + t * kGemmRows * p.stride,
                                   .stride = p.stride,
                                   .rows = smaller(kGemmRows, p.rows - t * kGemmRows),
                                   .columns = p.columns};
      const GemmPlace<float> kept = {partial + t * kGemmRows * kGemmColumns, kGemmColumns,
                                     kGemmRows, kGemmColumns};
      if (last) {
        for (int64_t r = 0; r < place.rows; ++r) __builtin_prefetch(place.c + r * p.stride, 1);
      }
      gemm_fetch(reinterpret_cast<const std::byte*>(right + kGemmColumns * steps),
                 kGemmSegment * kGemmColumns * static_cast<int64_t>(sizeof(P)), t, tiles);
      Vec sum[kGemmRows][kGemmVectors];
      gemm_tile<A>(steps, left, right, sum);
      if (k > 0) {
        gemm_add(kept, sum);
      } else if (p.add) {
        gemm_add(place, sum);
      }
      last ? gemm_store(sum, place) : gemm_store(sum, kept);
    }
  }
}

template <class T, class To>
void gemm_multiply(const GemmPanels<To>& panels) {
  using P = Packed<T>;
  panels.along == Along::rows ? gemm_multiply_panels<Along::rows, P>(panels)
                              : gemm_multiply_panels<Along::columns, P>(panels);
}

template <class T>
constexpr GemmKernels<T> gemm_table() {
  return {
      kGemmRows,         kGemmColumns,       kGemmUnits * kDepth<Packed<T>>, sizeof(Packed<T>),
      gemm_pack_left<T>, gemm_pack_right<T>, gemm_multiply<T, float>,        gemm_multiply<T, T>};
}

}  // namespace
}  // namespace continuo
