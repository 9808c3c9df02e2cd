// The packed products of packed.h. Included by kernels_impl.cpp only, inside its anonymous namespace.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "nn/kernels/compressed_impl.h"

namespace continuo {
namespace {

// Sixteen halves, finite: shifting exponent and mantissa into place is off by the difference of the biases.
inline Vec load_half(const uint16_t* p) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
  const VecU h = __builtin_convertvector(load_as<VecH>(p), VecU);
  const VecU magnitude = (h & 0x7fffu) << 13, sign = (h & 0x8000u) << 16;
  Vec m;
  std::memcpy(&m, &magnitude, sizeof m);
  m = m * 0x1p112f;
  VecU bits;
  std::memcpy(&bits, &m, sizeof bits);
  bits |= sign;
  std::memcpy(&m, &bits, sizeof m);
  return m;
#endif
}

inline uint16_t to_half(float x) {
  const _Float16 h = static_cast<_Float16>(x);
  uint16_t bits;
  std::memcpy(&bits, &h, sizeof bits);
  return bits;
}
inline float from_half(uint16_t bits) {
  _Float16 h;
  std::memcpy(&h, &bits, sizeof h);
  return static_cast<float>(h);
}

// sum[i] + Σ_j w[4i + j] · x[j]: unsigned weights, four signed activations for every lane.
inline VecI dot4(VecI sum, VecB w, int32_t x) {
#if defined(__AVX512VNNI__)
  return (VecI)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, _mm512_set1_epi32(x));
#else
  VecI wide;
  std::memcpy(&wide, &w, sizeof wide);
  int8_t parts[4];
  std::memcpy(parts, &x, sizeof parts);
  for (int j = 0; j < 4; ++j) sum += ((wide >> (8 * j)) & 0xff) * parts[j];
  return sum;
#endif
}

// sum[i] + w[2i] · x[0] + w[2i + 1] · x[1], all bfloat16.
inline Vec dot2(Vec sum, VecU w, uint32_t x) {
#if defined(__AVX512BF16__)
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w, (__m512bh)_mm512_set1_epi32(static_cast<int>(x)));
#else
  const VecU low = w << 16, high = w & 0xffff0000u;
  Vec even, odd;
  std::memcpy(&even, &low, sizeof even);
  std::memcpy(&odd, &high, sizeof odd);
  sum += even * to_float(static_cast<uint16_t>(x & 0xffffu));
  sum += odd * to_float(static_cast<uint16_t>(x >> 16));
  return sum;
#endif
}

constexpr int kPanelVectors = static_cast<int>(kPanel) / kLanes;
static_assert(kPanelVectors == 2);

}  // namespace
}  // namespace continuo

#include "nn/kernels/decode_attention_impl.h"
#include "nn/kernels/packed_pack_impl.h"
#include "nn/kernels/packed_product_impl.h"

namespace continuo {
namespace {

void packed_round(int64_t n, const float* x, uint16_t* halves) {
  for (int64_t i = 0; i < n; i += kLanes) store(halves + i, load(x + i));
}

void packed_quantise(int64_t n, const float* x, int8_t* integers, float* scales, int32_t* offsets) {
  for (int64_t b = 0; b < n / kQuantBlock; ++b, x += kQuantBlock, integers += kQuantBlock) {
    const Vec x0 = load(x), x1 = load(x + kLanes);
    const float largest = max(max(max(x0, -x0), max(x1, -x1)));
    const float scale = largest / 127.0f, inverse = largest > 0 ? 127.0f / largest : 0.0f;
    scales[b] = scale;
    // Adding 1.5 · 2^23 rounds to an integer, which then is the low bits.
    const Vec r0 = x0 * inverse + 12582912.0f, r1 = x1 * inverse + 12582912.0f;
    VecI i0, i1;
    std::memcpy(&i0, &r0, sizeof i0);
    std::memcpy(&i1, &r1, sizeof i1);
    i0 -= 0x4b400000;
    i1 -= 0x4b400000;
    int32_t total = 0;
    const VecI both = i0 + i1;
    for (int l = 0; l < kLanes; ++l) total += both[l];
    offsets[b] = total;
    using VecS = int8_t __attribute__((vector_size(16)));
    const VecS s0 = __builtin_convertvector(i0, VecS), s1 = __builtin_convertvector(i1, VecS);
    std::memcpy(integers, &s0, sizeof s0);
    std::memcpy(integers + kLanes, &s1, sizeof s1);
  }
}

template <class T>
void narrow(int64_t n, const float* x, T* y) {
  for_lanes(
      n, [&](int64_t i) { store(y + i, load(x + i)); }, [&](int64_t i) { put(y + i, x[i]); });
}

constexpr PackedKernels kPackedKernels = {packed_pack,   packed_compress, kCompresses,   packed_unpack,
                                          packed_product, packed_round,   packed_quantise, attend<float>,
                                          attend<uint16_t>, narrow<float>, narrow<uint16_t>};

}  // namespace
}  // namespace continuo
