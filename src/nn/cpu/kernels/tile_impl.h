// Small products in registers, of which attention (attention_impl.h) and dense products
// (gemm_impl.h) are made. C[m][n] += Σ_k A[m][k] · B[k][n] broadcasts values of A and reads vectors
// of B. With bfloat16 a "value" is a pair along k in 32 bits, so every B is stored as [k/2][n][2].
#pragma once

namespace continuo {
namespace {

// How a product reads operands of storage type T: `kDepth` steps of k at once.
template <class T>
struct Operand;

template <>
struct Operand<float> {
  static constexpr int64_t kDepth = 1;
  using Vector = Vec;
  static Vector vector(const float* p) { return load(p); }
  static Vec multiply_add(Vec sum, Vector b, const float* a) { return sum + b * splat(*a); }
};

template <>
struct Operand<uint16_t> {
  static constexpr int64_t kDepth = 2;
  using Vector = VecU;
  static Vector vector(const uint16_t* p) { return load_as<VecU>(p); }
  static Vec multiply_add(Vec sum, Vector b, const uint16_t* a) {
    return dot2(sum, b, load_as<uint32_t>(a));
  }
};

template <class T>
constexpr int64_t kDepth = Operand<T>::kDepth;

// Where the values of a left operand lie: elements between rows, and between steps of kDepth along
// k.
struct Steps {
  int64_t row, k;
};

// C [rows][16 · vectors] of `rows` ≤ kProductRows rows.
template <class T>
struct TileProduct {
  int64_t rows, vectors;
  int64_t steps;  // of kDepth along k
  const T* a;
  Steps a_step;
  const T* b;
  int64_t b_step;  // elements between steps along k
  float* c;
  int64_t c_row;  // elements between rows
  bool add;       // C is added to
};

// The vectors [first, first + Vectors) of Rows rows. Inlined by order: where the operands' steps
// are known, so are the addresses.
template <class T, int Rows, int Vectors>
[[gnu::always_inline]] inline void product_tile(const TileProduct<T>& p, int64_t first) {
  const int64_t steps = p.steps, b_step = p.b_step, c_row = p.c_row;
  const Steps at = p.a_step;
  const T *a = p.a, *b = p.b + first * kLanes * kDepth<T>;
  float* c = p.c + first * kLanes;
  const bool add = p.add;
  Vec sum[Rows][Vectors];
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < Vectors; ++v) sum[r][v] = Vec{};  // `= {}` costs a `rep stos` with g++ 12
  }
  for (int64_t s = 0; s < steps; ++s, a += at.k, b += b_step) {
    typename Operand<T>::Vector right[Vectors];
    for (int v = 0; v < Vectors; ++v) right[v] = Operand<T>::vector(b + v * kLanes * kDepth<T>);
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < Vectors; ++v)
        sum[r][v] = Operand<T>::multiply_add(sum[r][v], right[v], a + r * at.row);
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < Vectors; ++v) {
      float* to = c + r * c_row + v * kLanes;
      store(to, add ? load(to) + sum[r][v] : sum[r][v]);
    }
  }
}

// As many accumulators as the registers hold beside a row of B and one broadcast value.
constexpr int kProductRows = 4;
#if defined(__AVX512F__)
constexpr int kProductVectors = 4;
#else
constexpr int kProductVectors = 1;
#endif

// What is left from vector v on: fewer rows, or fewer vectors, than the largest tile has.
template <class T, int Rows = kProductRows, int Vectors = kProductVectors>
void product_edge(TileProduct<T> p, int64_t v) {
  if constexpr (Rows > 1) {
    if (p.rows < Rows) return product_edge<T, Rows - 1, Vectors>(p, v);
  }
  for (; v + Vectors <= p.vectors; v += Vectors) product_tile<T, Rows, Vectors>(p, v);
  if constexpr (Vectors > 1) {
    if (v < p.vectors) product_edge<T, Rows, Vectors - 1>(p, v);
  }
}

// Inlined by order, and edges take a copy, so that a caller's struct never is in memory.
template <class T>
[[gnu::always_inline]] inline void product_rows(const TileProduct<T>& p) {
  int64_t v = 0;
  if (p.rows == kProductRows) {
    for (; v + kProductVectors <= p.vectors; v += kProductVectors)
      product_tile<T, kProductRows, kProductVectors>(p, v);
  }
  if (v < p.vectors) product_edge(p, v);
}

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Sixteen vectors of 32-bit values, transposed in four steps of doubling distance. Inlined by
// order: a call would pass them through memory.
[[gnu::always_inline]] inline void transpose(VecU* v) {
  VecU t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = lower<1>(v[2 * i], v[2 * i + 1]);
    t[2 * i + 1] = upper<1>(v[2 * i], v[2 * i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int j = i; j < i + 2; ++j)
      v[j] = lower<2>(t[j], t[j + 2]), v[j + 2] = upper<2>(t[j], t[j + 2]);
  }
  for (int i = 0; i < 16; i += 8) {
    for (int j = i; j < i + 4; ++j)
      t[j] = lower<4>(v[j], v[j + 4]), t[j + 4] = upper<4>(v[j], v[j + 4]);
  }
  for (int j = 0; j < 8; ++j) v[j] = lower<8>(t[j], t[j + 8]), v[j + 8] = upper<8>(t[j], t[j + 8]);
}

}  // namespace
}  // namespace continuo
