// The packed products of packed.h. Included by kernels_impl.cpp only, inside its anonymous
// namespace.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "nn/cpu/kernels/compressed_impl.h"

namespace continuo {
namespace {

// Sixteen halves, finite: shifting exponent and mantissa into place is off by the difference of the
// biases.
inline Vec load_half(const uint16_t* p) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_cvtph_ps(0xffff,
                                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__)
  const auto eight = [](const uint16_t* at) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
  };
  return {eight(p), eight(p + 8)};
#else
  const VecU h = load_wide(p);
  const VecU magnitude = (h & 0x7fffu) << 13, sign = (h & 0x8000u) << 16;
  return bits_as<Vec>(bits_as<VecU>(bits_as<Vec>(magnitude) * 0x1p112f) | sign);
#endif
}

inline uint16_t to_half(float x) { return bits_as<uint16_t>(static_cast<_Float16>(x)); }
inline float from_half(uint16_t bits) { return static_cast<float>(bits_as<_Float16>(bits)); }

// f(0) … f(N − 1), each with its number as a constant: indices that g++ 12 leaves variable, of
// loops that it unrolls late, keep the sums in memory.
template <int N, class F>
[[gnu::always_inline]] inline void for_each_index(const F& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, I>()), ...);
  }(std::make_integer_sequence<int, N>());
}

constexpr int kPanelVectors = static_cast<int>(kPanel) / kLanes;
static_assert(kPanelVectors == 2);

}  // namespace
}  // namespace continuo

#include "nn/cpu/kernels/packed_blocks_impl.h"
#include "nn/cpu/kernels/packed_compress_impl.h"
#include "nn/cpu/kernels/packed_dots_impl.h"
#include "nn/cpu/kernels/packed_lay_impl.h"
#include "nn/cpu/kernels/packed_pack_impl.h"
#include "nn/cpu/kernels/packed_rows_impl.h"
#include "nn/cpu/kernels/packed_unpack_impl.h"

namespace continuo {
namespace {

void packed_product(const PackedProduct& product, int64_t begin, int64_t end) {
  const Activations reads = product.reads;
  if (product.rows < kManyRows || reads == Activations::integers) {
    product_by_rows(product, begin, end);
  } else if (reads == Activations::halves) {
    product_by_blocks<BlockHalf>(product, begin, end);
  } else {
    product_by_blocks<float>(product, begin, end);
  }
}

void packed_round(int64_t n, const float* x, uint16_t* halves) {
  for (int64_t i = 0; i < n; i += kLanes) store(halves + i, load(x + i));
}

void packed_quantise(int64_t n, const float* x, const RoundedInput& to) {
  for (int64_t b = 0; b < n / kQuantBlock; ++b) {
    const float* from = x + b * kQuantBlock;
    const Vec v[2] = {load(from), load(from + kLanes)};
    const float largest = max(max(max(v[0], -v[0]), max(v[1], -v[1])));
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    int32_t* sums = to.sums + 2 * b;
    for (int half = 0; half < 2; ++half) {
      // Adding 1.5 · 2^23 rounds to an integer, which then is the low bits.
      const VecI rounded = bits_as<VecI>(v[half] * inverse + 12582912.0f) - 0x4b400000;
      sums[half] = fold(rounded, [](auto a, auto c) { return a + c; });
      store_as(to.integers + b * kQuantBlock + half * kLanes, convert<VecC>(rounded));
    }
    to.scales[b] = largest / 127.0f;
    to.totals[b] = to.scales[b] * static_cast<float>(sums[0] + sums[1]);
  }
}

constexpr PackedKernels kPackedKernels = {packed_pack,    packed_compress, kCompresses,
                                          packed_lay,     packed_unpack,   packed_unpack_panel,
                                          packed_product, packed_round,    packed_quantise};

}  // namespace
}  // namespace continuo
