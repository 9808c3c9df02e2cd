// Sixteen float lanes, with loads and stores for float and bfloat16 storage, exponentials and sums.
// Included by kernels_impl.cpp only, where everything lives in an anonymous namespace: the same
// code is compiled once per instruction set.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "nn/cpu/kernels/lanes.h"

namespace {

constexpr int kLanes = 16;
using Vec = Lanes<float, kLanes>;
using VecI = Lanes<int32_t, kLanes>;
using VecU = Lanes<uint32_t, kLanes>;
using VecH = Lanes<uint16_t, kLanes>;
using VecC = Lanes<int8_t, kLanes>;
using VecQ = Lanes<uint8_t, kLanes>;

inline Vec splat(float x) { return broadcast<Vec>(x); }

inline Vec load(const float* p) { return load_as<Vec>(p); }
inline void store(float* p, Vec v) { store_as(p, v); }

// Sixteen narrow integers in lanes of 32 bits. By order: g++ 12 takes the compiler's conversion of
// less than a register apart, element by element.
#if defined(__AVX512F__)
inline VecI load_wide(const int8_t* p) {
  return (VecI)_mm512_maskz_cvtepi8_epi32(0xffff,
                                          _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline VecI load_wide(const uint8_t* p) {
  return (VecI)_mm512_maskz_cvtepu8_epi32(0xffff,
                                          _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline VecU load_wide(const uint16_t* p) {
  return (VecU)_mm512_maskz_cvtepu16_epi32(0xffff,
                                           _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
#elif defined(__AVX2__)
inline VecI load_wide(const int8_t* p) {
  const auto half = [](const int8_t* q) {
    return (decltype(VecI::low))_mm256_cvtepi8_epi32(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(q)));
  };
  return {half(p), half(p + 8)};
}
inline VecI load_wide(const uint8_t* p) {
  const auto half = [](const uint8_t* q) {
    return (decltype(VecI::low))_mm256_cvtepu8_epi32(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(q)));
  };
  return {half(p), half(p + 8)};
}
inline VecU load_wide(const uint16_t* p) {
  const auto half = [](const uint16_t* q) {
    return (decltype(VecU::low))_mm256_cvtepu16_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(q)));
  };
  return {half(p), half(p + 8)};
}
#else
inline VecI load_wide(const int8_t* p) { return convert<VecI>(load_as<VecC>(p)); }
inline VecI load_wide(const uint8_t* p) { return convert<VecI>(load_as<VecQ>(p)); }
inline VecU load_wide(const uint16_t* p) { return convert<VecU>(load_as<VecH>(p)); }
#endif

inline Vec load(const uint16_t* p) { return bits_as<Vec>(load_wide(p) << 16); }
inline Vec load(const int8_t* p) { return convert<Vec>(load_wide(p)); }
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

// sum[i] + w[2i] · x[0] + w[2i + 1] · x[1], all bfloat16.
inline Vec dot2(Vec sum, VecU w, uint32_t x) {
#if defined(__AVX512BF16__)
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w,
                               (__m512bh)_mm512_set1_epi32(static_cast<int>(x)));
#else
  const VecU both = broadcast<VecU>(x);
  sum += bits_as<Vec>(w << 16) * bits_as<Vec>(both << 16);
  sum += bits_as<Vec>(w & 0xffff0000u) * bits_as<Vec>(both & 0xffff0000u);
  return sum;
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
template <class V>
inline auto max(V v) {
  return fold(v, [](auto a, auto b) { return max(a, b); });
}

// x = n · ln2 + r with an integer n and |r| ≤ ln2/2. The lowest bits of `shifted` are n's: it is n
// + 1.5·2^23, of which the addition rounded to an integer.
struct Reduced {
  Vec r;
  VecI shifted;
};
inline Reduced reduce(Vec x) {
  const Vec shifted = x * 1.44269504088896341f + 12582912.0f;
  const Vec n = shifted - 12582912.0f;
  return {(x - n * 0.693359375f) + n * 2.12194440e-4f, bits_as<VecI>(shifted)};  // ln2 in two parts
}
// e^r by its Taylor polynomial.
template <int Degree>
inline Vec exp_of_fraction(Vec r) {
  static_assert(Degree == 4 || Degree == 7);
  Vec p = splat(1.0f / 24);
  if constexpr (Degree == 7) {
    p = splat(1.0f / 5040) * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
  }
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  return p * r + 1.0f;
}

// e^x (relative error below 2e-7, tested). Underflows to 0, saturates at the largest finite power;
// NaN stays NaN.
inline Vec exp(Vec x) {
  const Reduced reduced = reduce(max(min(x, splat(88.0f)), splat(-87.3f)));
  const VecI power = (reduced.shifted - 0x4b400000 + 127) << 23;  // n without the bits of 1.5·2^23
  const Vec result = exp_of_fraction<7>(reduced.r) * bits_as<Vec>(power);
  return select(x != x, x, select(x < splat(-87.3f), Vec{}, result));
}

// e^x for x ≤ about 0, without the care for large x (relative error 4e-5 with degree 4, 2e-7 with
// 7). Below −87 it is 1e-38; NaN stays NaN.
template <int Degree>
inline Vec exp_nonpositive(Vec x) {
  const Vec lowest = splat(-87.3f);
  const Reduced reduced = reduce(select(x < lowest, lowest, x));
  // The shift leaves n alone. The fraction's power lies in [0.7, 1.42] and n above −127: the
  // product is a normal number.
  const VecI bits = bits_as<VecI>(exp_of_fraction<Degree>(reduced.r)) + (reduced.shifted << 23);
  return select(x != x, x, bits_as<Vec>(bits));
}

inline float exp(float x) {
  const Vec v = exp(splat(x));
  return v[0];
}

}  // namespace
