// Dense matrix products out of packed panels (Goto & van de Geijn, "Anatomy of High-Performance
// Matrix Multiplication", 2008): C[m][n] += Σ_k A[m][k] · B[k][n], summed in float. A is packed in
// panels of `rows` rows, B in panels of `columns` columns; a panel pair is multiplied without
// leaving the registers. The bits of an element depend on k and its cut alone. Where the CPU has no
// dot products of bfloat16, panels hold float: bfloat16 is widened while it is packed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace continuo {

// How an operand lies in memory: with k along its rows (A [m][k], B [n][k]) or across them (A
// [k][m], B [k][n]).
enum class Along { rows, columns };

template <class T>
struct GemmKernels {
  int64_t rows, columns;
  int64_t depth;    // packed k is a multiple of this, filled up with zeros
  int64_t element;  // bytes of one value in a panel

  // `count` rows of A (columns of B) from `from`, `stride` elements between rows in memory, to
  // whole panels one after the other, each `packed_k` long in k. Missing rows and values of k are
  // zeros. Panels begin on a multiple of `element`.
  void (*pack_left)(Along along, int64_t count, int64_t k, const T* from, int64_t stride,
                    int64_t packed_k, std::byte* panels);
  void (*pack_right)(Along along, int64_t count, int64_t k, const T* from, int64_t stride,
                     int64_t packed_k, std::byte* panels);
  // m rows (from their first panel) by n ≤ columns of one panel of B; `along` as the rows were
  // packed. add: C is added to.
  void (*multiply_float)(Along along, int64_t m, int64_t n, int64_t packed_k, const std::byte* left,
                         const std::byte* right, float* c, int64_t stride, bool add);
  void (*multiply_narrow)(Along along, int64_t m, int64_t n, int64_t packed_k,
                          const std::byte* left, const std::byte* right, T* c, int64_t stride,
                          bool add);
};

}  // namespace continuo
