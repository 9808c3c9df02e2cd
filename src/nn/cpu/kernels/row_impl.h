// The kernels of row.h. Included by kernels_impl.cpp only, once per instruction set. Vectors are as
// wide as the registers are: of wider ones g++ 12 compares and selects lane by lane.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "nn/cpu/kernels/row.h"
#include "nn/cpu/kernels/vec.h"

namespace continuo {
namespace {

constexpr int kRowLanes = kLanes / kParts;
constexpr int kHalfLanes = kRowLanes / 2;

using RowVec = float __attribute__((vector_size(kRowLanes * sizeof(float))));
using RowInts = int32_t __attribute__((vector_size(kRowLanes * sizeof(int32_t))));
using RowUnsigned = uint32_t __attribute__((vector_size(kRowLanes * sizeof(uint32_t))));
using RowHalf = float __attribute__((vector_size(kHalfLanes * sizeof(float))));
using RowDoubles = double __attribute__((vector_size(kHalfLanes * sizeof(double))));
using RowWords = uint64_t __attribute__((vector_size(kHalfLanes * sizeof(uint64_t))));

struct RowHalves {
  RowHalf half[2];
};

// The lanes of a RowVec, summed apart in double.
struct LaneSums {
  RowDoubles low{}, high{};

  void add(RowVec v) {
    const auto halves = bits_as<RowHalves>(v);
    low += __builtin_convertvector(halves.half[0], RowDoubles);
    high += __builtin_convertvector(halves.half[1], RowDoubles);
  }
  double total() const {
    double total = 0;
    const RowDoubles pairs = low + high;
    for (int i = 0; i < kHalfLanes; ++i) total += pairs[i];
    return total;
  }
};

// Whole vectors of a row, the last one filled up with −inf.
template <class Body>
inline void for_row(int64_t n, const float* x, Body body) {
  int64_t i = 0;
  for (; i + kRowLanes <= n; i += kRowLanes) body(load_as<RowVec>(x + i));
  if (i == n) return;
  float rest[kRowLanes];
  for (int k = 0; k < kRowLanes; ++k) rest[k] = i + k < n ? x[i + k] : -__builtin_inff();
  body(load_as<RowVec>(rest));
}

RowSummary row_summary(int64_t n, const float* x, float* block_max) {
  const RowVec infinity = broadcast<RowVec>(__builtin_inff());
  RowVec highest = -infinity;
  RowInts faulty{}, live{};  // −1 in a lane is a yes
  for (int64_t from = 0; from < n; from += kRowBlock, ++block_max) {
    RowVec high = -infinity;
    for_row(n - from < kRowBlock ? n - from : kRowBlock, x + from, [&](RowVec v) {
      high = max(v, high);
      faulty |= ~(v < infinity);
      live += v > -infinity;
    });
    *block_max = max(high);
    highest = max(high, highest);
  }
  RowSummary summary{.max = max(highest)};
  for (int i = 0; i < kRowLanes; ++i) {
    summary.live -= live[i];
    summary.faulty |= faulty[i] != 0;
  }
  return summary;
}

// Bit i: lane i is at least `bar`.
inline uint32_t lanes_reaching(RowVec v, float bar) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)v, _mm512_set1_ps(bar), _CMP_GE_OQ);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(
      _mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_set1_ps(bar), _CMP_GE_OQ)));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpge_ps((__m128)v, _mm_set1_ps(bar))));
#else
  uint32_t bits = 0;
  for (int i = 0; i < kRowLanes; ++i) bits |= static_cast<uint32_t>(v[i] >= bar) << i;
  return bits;
#endif
}

// Appends the numbers of those lanes, the first being `first`; none from n on: what fills up a last
// vector may reach −inf.
inline void append_reaching(RowVec v, float bar, int64_t first, int64_t n, int32_t* hits,
                            int64_t& count) {
  for (uint32_t lanes = lanes_reaching(v, bar); lanes != 0; lanes &= lanes - 1) {
    const int64_t i = first + __builtin_ctz(lanes);
    if (i < n) hits[count++] = static_cast<int32_t>(i);
  }
}

int64_t row_reaching(int64_t n, const float* x, const float* block_max, float bar, int32_t* hits) {
  int64_t count = 0;
  for (int64_t from = 0; from < n; from += kRowBlock, ++block_max) {
    if (!(*block_max >= bar)) continue;
    int64_t i = from;
    for_row(n - from < kRowBlock ? n - from : kRowBlock, x + from, [&](RowVec v) {
      append_reaching(v, bar, i, n, hits, count);
      i += kRowLanes;
    });
  }
  return count;
}

// e^y for y ≤ 0: 2^n · e^r with |r| ≤ ln2/2, e^r by a minimax polynomial of degree 6 (3e-9) that is
// exact at 0. Far below it ends at e^−87, which no sum notices.
inline RowVec exp_of_nonpositive(RowVec y) {
  const RowVec shifted = y * 1.44269504088896341f + 12582912.0f;  // 1.5·2^23 rounds to an integer
  const RowVec n = shifted - 12582912.0f;
  const RowVec r = (y - n * 0.693359375f) + n * 2.12194440e-4f;  // ln2 in two parts
  RowVec p = r * 1.3814539e-3f + 8.3687454e-3f;
  p = p * r + 4.1668389e-2f;
  p = p * r + 1.6666521e-1f;
  p = p * r + 4.9999994e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // The integer in the low bits of `shifted` becomes a power of two.
  return bits_as<RowVec>(bits_as<RowInts>(p) + (bits_as<RowInts>(shifted) << 23));
}

template <bool kWeighted>
ExpSums exp_sums_of(int64_t n, const float* x, float highest, float scale) {
  LaneSums sums, weighted;
  for (int64_t from = 0; from < n; from += kRowBlock) {
    RowVec e{}, we{};
    for_row(n - from < kRowBlock ? n - from : kRowBlock, x + from, [&](RowVec v) {
      const RowVec y = max((v - highest) * scale, broadcast<RowVec>(-87.0f));
      const RowVec power = exp_of_nonpositive(y);
      e += power;
      if constexpr (kWeighted) we += power * y;
    });
    sums.add(e);
    if constexpr (kWeighted) weighted.add(we);
  }
  return {sums.total(), kWeighted ? weighted.total() : 0};
}

ExpSums exp_sums(int64_t n, const float* x, float highest, float scale, bool weighted) {
  return weighted ? exp_sums_of<true>(n, x, highest, scale)
                  : exp_sums_of<false>(n, x, highest, scale);
}

DeviationSums deviations(int64_t n, const float* x, double center) {
  RowDoubles sum[2] = {}, squares[2] = {};  // apart: additions wait for the ones before them
  for_row(n, x, [&](RowVec v) {
    const auto halves = bits_as<RowHalves>(v);
    for (int h = 0; h < 2; ++h) {
      const RowDoubles wide = __builtin_convertvector(halves.half[h], RowDoubles);
      const RowDoubles d = wide > -__builtin_inf() ? wide - center : RowDoubles{};
      sum[h] += d;
      squares[h] += d * d;
    }
  });
  sum[0] += sum[1];
  squares[0] += squares[1];
  DeviationSums total;
  for (int i = 0; i < kHalfLanes; ++i) {
    total.sum += sum[0][i];
    total.squares += squares[0][i];
  }
  return total;
}

// Products of the lower halves of the wide lanes. The compiler does not see that the upper ones do
// not count.
inline RowWords product(RowWords a, uint32_t b) {
#if defined(__AVX512F__)
  return (a & uint64_t{0xffffffff}) * uint64_t{b};  // has products of 64 bits, no slower
#elif defined(__AVX2__)
  return bits_as<RowWords>(_mm256_mul_epu32(bits_as<__m256i>(a), _mm256_set1_epi64x(b)));
#elif defined(__SSE2__)
  return bits_as<RowWords>(_mm_mul_epu32(bits_as<__m128i>(a), _mm_set1_epi64x(b)));
#else
  return (a & uint64_t{0xffffffff}) * uint64_t{b};
#endif
}

// The upper 32 bits of the noise of kRowLanes tokens from `first`: Philox4x32-10, one block of the
// generator in the lower half of each wide lane; what the upper halves hold is of no account. Words
// 1 and 3 are what two neighbouring tokens begin with.
inline RowInts noise_tops(int64_t first, NoiseKey key) {
  RowWords c0{}, c1{}, c2{}, c3{};
  c0 += key.position;
  c1 += key.position >> 32;
  for (int i = 0; i < kHalfLanes; ++i) c2[i] = static_cast<uint64_t>(i);
  c2 += static_cast<uint64_t>(first) >> 1;
  uint32_t k0 = key.key[0], k1 = key.key[1];
  for (int round = 0; round < 10; ++round) {
    const RowWords p0 = product(c0, 0xD2511F53), p1 = product(c2, 0xCD9E8D57);
    c0 = (p1 >> 32) ^ c1 ^ uint64_t { k0 };
    c1 = p1;
    c2 = (p0 >> 32) ^ c3 ^ uint64_t { k1 };
    c3 = p0;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return bits_as<RowInts>((c1 & uint64_t{0xffffffff}) | c3 << 32);
}

int64_t gumbel_hits(const GumbelDraw& draw, int32_t* hits) {
  const auto [first, n, x, highest, scale, bar, key] = draw;
  // u, of which t are the upper 32 bits, can only win when 1 − u ≤ e^(y − bar), and 1 − u > (2^32 −
  // 1 − t)/2^32 ≥ w/2^24, w being the upper 24 bits of the complement. The bits of a float, read as
  // an integer, are a lower bound of 2^23·(log2 + 127): log2 w ≤ 24 + (y − bar)·log2 e.
  constexpr float kLog2E = 1.44269504f, kSlack = 0.01f;
  const float slope = scale * kLog2E, offset = 24 + 127 + kSlack - bar * kLog2E;
  int64_t count = 0, i = 0;
  for_row(n, x, [&](RowVec v) {
    const auto w = bits_as<RowInts>(bits_as<RowUnsigned>(~noise_tops(first + i, key)) >> 8);
    const RowInts bits = bits_as<RowInts>(__builtin_convertvector(w, RowVec));
    const RowVec room =
        (v - highest) * slope + offset - __builtin_convertvector(bits, RowVec) * 0x1p-23f;
    append_reaching(room, 0, i, n, hits, count);
    i += kRowLanes;
  });
  return count;
}

constexpr RowKernels kRowKernels = {row_summary, row_reaching, exp_sums, deviations, gumbel_hits};

}  // namespace
}  // namespace continuo
