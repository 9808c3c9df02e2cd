// Sixteen float lanes in GCC's portable vector extension, with loads and stores for float and bfloat16 storage. The
// compiler lowers them to whatever the translation unit's -march offers. Included by kernels_impl.cpp only, where
// everything lives in an anonymous namespace: the same code is compiled once per instruction set.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

constexpr int kLanes = 16;
using Vec = float __attribute__((vector_size(kLanes * sizeof(float))));
using VecI = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));
using VecU = uint32_t __attribute__((vector_size(kLanes * sizeof(uint32_t))));
using VecH = uint16_t __attribute__((vector_size(kLanes * sizeof(uint16_t))));

inline Vec splat(float x) { return Vec{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

inline Vec load(const uint16_t* p) {
  VecH half;
  std::memcpy(&half, p, sizeof half);
  const VecU bits = __builtin_convertvector(half, VecU) << 16;
  Vec v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}
// Round to nearest even; NaN stays NaN.
inline void store(uint16_t* p, Vec v) {
#if defined(__AVX512BF16__)
  const __m256bh half = _mm512_cvtneps_pbh((__m512)v);
  std::memcpy(p, &half, sizeof half);
#else
  VecU bits;
  std::memcpy(&bits, &v, sizeof bits);
  const VecU rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const VecI is_nan = v != v;
  const VecU chosen = is_nan ? (VecU{} + 0x7fc0u) : rounded;
  const VecH half = __builtin_convertvector(chosen, VecH);
  std::memcpy(p, &half, sizeof half);
#endif
}

inline float to_float(float x) { return x; }
inline float to_float(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}
inline void put(float* p, float x) { *p = x; }
inline void put(uint16_t* p, float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  *p = x != x ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Sums the lanes pairwise: a fixed order, so equal inputs give equal bits in every caller.
// Halves are combined as whole registers; GCC 12 would make scalar loops of lane arithmetic.
template <class Combine>
inline float fold(Vec v, Combine combine) {
  using Vec8 = float __attribute__((vector_size(32)));
  using Vec4 = float __attribute__((vector_size(16)));
  Vec8 eight[2];
  std::memcpy(eight, &v, sizeof v);
  const Vec8 e = combine(eight[0], eight[1]);
  Vec4 four[2];
  std::memcpy(four, &e, sizeof e);
  const Vec4 f = combine(four[0], four[1]);
  const Vec4 g = combine(f, __builtin_shufflevector(f, f, 2, 3, 2, 3));
  return combine(g, __builtin_shufflevector(g, g, 1, 1, 1, 1))[0];
}
inline float sum(Vec v) {
  return fold(v, [](auto a, auto b) { return a + b; });
}
inline float max(Vec v) {
  return fold(v, [](auto a, auto b) { return a > b ? a : b; });
}
inline Vec max(Vec a, Vec b) { return a > b ? a : b; }
inline Vec min(Vec a, Vec b) { return a < b ? a : b; }

// e^x: 2^n · e^r with |r| ≤ ln2/2, e^r by its Taylor polynomial of degree 7 (relative error below 2e-7, tested).
// Underflows to 0, saturates at the largest finite power; NaN stays NaN.
inline Vec exp(Vec x) {
  const Vec clamped = max(min(x, splat(88.0f)), splat(-87.3f));
  const Vec shifted = clamped * 1.44269504088896341f + 12582912.0f;  // 1.5·2^23 rounds to an integer
  VecI bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  const Vec n = shifted - 12582912.0f;
  const Vec r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;  // ln2 in two parts
  Vec p = splat(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  VecI exponent = bits - 0x4b400000;  // n: the mantissa of `shifted` less that of 1.5·2^23
  exponent = (exponent + 127) << 23;
  Vec scale;
  std::memcpy(&scale, &exponent, sizeof scale);
  const Vec result = p * scale;
  const Vec tiny = x < splat(-87.3f) ? Vec{} : result;
  return x != x ? x : tiny;
}

// e^x for x ≤ about 0, without the care for large x: 2^n · e^r with e^r by a polynomial of the given degree (relative error
// 4e-5 with 4, 2e-7 with 7). Below −87 it is 1e-38; NaN stays NaN.
template <int Degree>
inline Vec exp_nonpositive(Vec x) {
  static_assert(Degree == 4 || Degree == 7);
  const Vec lowest = splat(-87.3f);
  const Vec clamped = x < lowest ? lowest : x;
  const Vec shifted = clamped * 1.44269504088896341f + 12582912.0f;
  VecI bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  const Vec n = shifted - 12582912.0f;
  Vec r = clamped - n * 0.693359375f, p;
  r = r + n * 2.12194440e-4f;
  if constexpr (Degree == 7) {
    p = splat(1.0f / 5040) * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
  } else {
    p = splat(1.0f / 24);
  }
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const VecI exponent = bits << 23;  // n, above the bits of 1.5·2^23 that are shifted out
  VecI result;
  std::memcpy(&result, &p, sizeof result);
  result += exponent;  // p lies in [0.7, 1.42] and n above −127: the product is a normal number
  Vec y;
  std::memcpy(&y, &result, sizeof y);
  return x != x ? x : y;
}

inline float exp(float x) {
  const Vec v = exp(splat(x));
  return v[0];
}

}  // namespace
