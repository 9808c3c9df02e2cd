// Sixteen float lanes, with loads and stores for float and bfloat16 storage, exponentials and sums. Included by
// kernels_impl.cpp only, where everything lives in an anonymous namespace: the same code is compiled once per instruction set.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "nn/kernels/lanes.h"

namespace {

constexpr int kLanes = 16;
using Vec = Lanes<float, kLanes>;
using VecI = Lanes<int32_t, kLanes>;
using VecU = Lanes<uint32_t, kLanes>;
using VecH = Lanes<uint16_t, kLanes>;

inline Vec splat(float x) { return broadcast<Vec>(x); }

inline Vec load(const float* p) { return load_as<Vec>(p); }
inline void store(float* p, Vec v) { store_as(p, v); }

inline Vec load(const uint16_t* p) { return bits_as<Vec>(convert<VecU>(load_as<VecH>(p)) << 16); }
// Round to nearest even; NaN stays NaN.
inline void store(uint16_t* p, Vec v) {
#if defined(__AVX512BF16__)
  const __m256bh half = _mm512_cvtneps_pbh((__m512)v);
  std::memcpy(p, &half, sizeof half);
#else
  const VecU bits = bits_as<VecU>(v);
  const VecU rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  store_as(p, convert<VecH>(select(v != v, broadcast<VecU>(0x7fc0u), rounded)));
#endif
}

inline float to_float(float x) { return x; }
inline float to_float(uint16_t x) { return bits_as<float>(static_cast<uint32_t>(x) << 16); }
inline void put(float* p, float x) { *p = x; }
inline void put(uint16_t* p, float x) {
  const auto bits = bits_as<uint32_t>(x);
  *p = x != x ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <class V>
inline V max(V a, V b) {
  return select(a > b, a, b);
}
template <class V>
inline V min(V a, V b) {
  return select(a < b, a, b);
}
inline float sum(Vec v) {
  return fold(v, [](auto a, auto b) { return a + b; });
}
inline float max(Vec v) {
  return fold(v, [](auto a, auto b) { return max(a, b); });
}

// e^x: 2^n · e^r with |r| ≤ ln2/2, e^r by its Taylor polynomial of degree 7 (relative error below 2e-7, tested).
// Underflows to 0, saturates at the largest finite power; NaN stays NaN.
inline Vec exp(Vec x) {
  const Vec clamped = max(min(x, splat(88.0f)), splat(-87.3f));
  const Vec shifted = clamped * 1.44269504088896341f + 12582912.0f;  // 1.5·2^23 rounds to an integer
  const VecI bits = bits_as<VecI>(shifted);
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
  const Vec result = p * bits_as<Vec>(exponent);
  return select(x != x, x, select(x < splat(-87.3f), Vec{}, result));
}

// e^x for x ≤ about 0, without the care for large x: 2^n · e^r with e^r by a polynomial of the given degree (relative error
// 4e-5 with 4, 2e-7 with 7). Below −87 it is 1e-38; NaN stays NaN.
template <int Degree>
inline Vec exp_nonpositive(Vec x) {
  static_assert(Degree == 4 || Degree == 7);
  const Vec lowest = splat(-87.3f);
  const Vec clamped = select(x < lowest, lowest, x);
  const Vec shifted = clamped * 1.44269504088896341f + 12582912.0f;
  const VecI bits = bits_as<VecI>(shifted);
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
  // p lies in [0.7, 1.42] and n above −127: the product is a normal number.
  return select(x != x, x, bits_as<Vec>(bits_as<VecI>(p) + exponent));
}

inline float exp(float x) {
  const Vec v = exp(splat(x));
  return v[0];
}

}  // namespace
