// Dense matrix products out of packed panels (Goto & van de Geijn, "Anatomy of High-Performance
// Matrix Multiplication", 2008): C[m][n] += Σ_k A[m][k] · B[k][n], summed in float. A is packed in
// panels of `rows` rows, B in panels of `columns` columns; a panel pair is multiplied a segment of
// k at a time without leaving the registers. The bits of an element depend on k and its cut alone.
// Where the CPU has no dot products of bfloat16, panels hold float: bfloat16 is widened while it is
// packed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace continuo {

// How an operand lies in memory: with k along its rows (A [m][k], B [n][k]) or across them (A
// [k][m], B [k][n]).
enum class Along { rows, columns };

// What is to be packed: `count` rows of A or columns of B, `k` values of each.
template <class T>
struct GemmOperand {
  Along along;
  int64_t count, k;
  const T* values;  // the first one
  int64_t stride;   // elements between rows in memory
};

// Values of k in one running sum: segments are added up afterwards. Shorter sums round less, and a
// segment of a panel of B stays in the first cache.
inline constexpr int64_t kGemmSegment = 256;
// Rows of C at most in one call: their sums so far wait in the first cache too.
inline constexpr int64_t kGemmMostRows = 144;

// C [rows, columns] from the packed rows of A, from their first panel on, and one panel of B. What
// follows that panel in memory is fetched into the second cache.
template <class To>
struct GemmPanels {
  Along along;  // as the rows of A were packed
  int64_t rows, columns;
  int64_t packed_k;
  const std::byte *left, *right;
  To* c;
  int64_t stride;  // elements between rows of C
  bool add;        // C is added to
};

template <class T>
struct GemmKernels {
  int64_t rows, columns;
  int64_t depth;    // packed k is a multiple of this, filled up with zeros
  int64_t element;  // bytes of one value in a panel

  // Write whole panels one after the other, each `packed_k` long in k. Missing rows and values of k
  // are zeros. Panels begin on a multiple of `element`.
  void (*pack_left)(const GemmOperand<T>& a, int64_t packed_k, std::byte* panels);
  void (*pack_right)(const GemmOperand<T>& b, int64_t packed_k, std::byte* panels);
  void (*multiply_float)(const GemmPanels<float>& panels);
  void (*multiply_narrow)(const GemmPanels<T>& panels);
};

}  // namespace continuo
