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

// sum[i] + Σ_j w[4i + j] · x[j]: unsigned weights, four signed activations for every lane.
template <class I, class B>
inline I dot4(I sum, B w, int32_t x) {
#if defined(__AVX512VNNI__)
  return (I)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, _mm512_set1_epi32(x));
#else
  if constexpr (is_pair<I>) {
    return {dot4(sum.low, w.low, x), dot4(sum.high, w.high, x)};
  } else {
    const I wide = bits_as<I>(w);
    int8_t parts[4];
    std::memcpy(parts, &x, sizeof parts);
    for (int j = 0; j < 4; ++j) sum += ((wide >> (8 * j)) & 0xff) * parts[j];
    return sum;
  }
#endif
}

inline int32_t four_bytes(const std::byte* at) {
  int32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

inline void put_bytes(std::byte* to, VecI integers) {
  store_as(reinterpret_cast<int8_t*>(to), convert<VecC>(integers));
}

// The products of a block's weights, of so many bits, with 32 activations, four at a time. `put`
// leaves sixteen activations as `add` reads them.
template <int Bits>
struct BlockDots {
  static constexpr int kBytes = 1;  // of an activation
  static void put(std::byte* to, VecI integers) { put_bytes(to, integers); }
  VecI sum;

  BlockDots() = default;
  explicit BlockDots(int32_t start) : sum(VecI{} + start) {}
  void add(VecB w, const std::byte* x) { sum = dot4(sum, w, four_bytes(x)); }
  VecI total() const { return sum; }
};
#if defined(__AVX2__) && !defined(__AVX512F__)
// Sums of two products with 8 bits do not fit into 16, so both factors are widened: weights for all
// rows at once, activations before, those that meet even bytes in front of the others.
template <>
struct BlockDots<8> {
  static constexpr int kBytes = 2;
  static void put(std::byte* to, VecI integers) {
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_packs_epi32((__m256i)integers.low, (__m256i)integers.high), 0xd8);
    const __m256i ordered = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(words, 0xd8), 0xd8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), ordered);
  }
  VecI sum;

  BlockDots() = default;
  explicit BlockDots(int32_t start) : sum(VecI{} + start) {}
  void add(VecB w, const std::byte* x) {
    const __m256i even = _mm256_set1_epi32(four_bytes(x)),
                  odd = _mm256_set1_epi32(four_bytes(x + 4));
    add(sum.low, (__m256i)w.low, even, odd);
    add(sum.high, (__m256i)w.high, even, odd);
  }
  VecI total() const { return sum; }

 private:
  template <class I>
  static void add(I& to, __m256i w, __m256i even, __m256i odd) {
    to += (I)_mm256_madd_epi16(_mm256_and_si256(w, _mm256_set1_epi16(0xff)), even);
    to += (I)_mm256_madd_epi16(_mm256_srli_epi16(w, 8), odd);
  }
};

// Of four bits all of them fit into 16: 8 · 2 · 15 · 127 < 2^15. Pairs of sums are added once.
template <>
struct BlockDots<4> {
  static constexpr int kBytes = 1;
  static void put(std::byte* to, VecI integers) { put_bytes(to, integers); }
  Lanes<int16_t, 2 * kLanes> pairs;

  BlockDots() = default;
  explicit BlockDots(int32_t) : pairs{} {}
  void add(VecB w, const std::byte* x) {
    using Half = decltype(pairs.low);
    const __m256i four = _mm256_set1_epi32(four_bytes(x));
    pairs.low += (Half)_mm256_maddubs_epi16((__m256i)w.low, four);
    pairs.high += (Half)_mm256_maddubs_epi16((__m256i)w.high, four);
  }
  VecI total() const {
    using Half = decltype(VecI::low);
    const __m256i ones = _mm256_set1_epi16(1);
    return {(Half)_mm256_madd_epi16((__m256i)pairs.low, ones),
            (Half)_mm256_madd_epi16((__m256i)pairs.high, ones)};
  }
};
#endif

constexpr int kPanelVectors = static_cast<int>(kPanel) / kLanes;
static_assert(kPanelVectors == 2);

}  // namespace
}  // namespace continuo

#include "nn/cpu/kernels/packed_blocks_impl.h"
#include "nn/cpu/kernels/packed_compress_impl.h"
#include "nn/cpu/kernels/packed_lay_impl.h"
#include "nn/cpu/kernels/packed_pack_impl.h"
#include "nn/cpu/kernels/packed_rows_impl.h"
#include "nn/cpu/kernels/packed_unpack_impl.h"

namespace continuo {
namespace {

void packed_product(const PackedProduct& product, int64_t begin, int64_t end) {
  const PanelFormat format = product.format;
  if (product.rows < kManyRows || reads_integers(format)) {
    product_by_rows(product, begin, end);
  } else if (reads_halves(format)) {
    product_by_blocks<BlockHalf>(product, begin, end);
  } else {
    product_by_blocks<float>(product, begin, end);
  }
}

void packed_round(int64_t n, const float* x, uint16_t* halves) {
  for (int64_t i = 0; i < n; i += kLanes) store(halves + i, load(x + i));
}

int64_t packed_integer_bytes(PanelFormat format) {
  return format == PanelFormat::q8 ? BlockDots<8>::kBytes : BlockDots<4>::kBytes;
}

template <int Bits>
void quantise_to(int64_t n, const float* x, std::byte* integers, float* scales, int32_t* offsets) {
  constexpr int kBytes = BlockDots<Bits>::kBytes;
  for (int64_t b = 0; b < n / kQuantBlock;
       ++b, x += kQuantBlock, integers += kQuantBlock * kBytes) {
    const Vec x0 = load(x), x1 = load(x + kLanes);
    const float largest = max(max(max(x0, -x0), max(x1, -x1)));
    const float scale = largest / 127.0f, inverse = largest > 0 ? 127.0f / largest : 0.0f;
    scales[b] = scale;
    // Adding 1.5 · 2^23 rounds to an integer, which then is the low bits.
    const Vec r0 = x0 * inverse + 12582912.0f, r1 = x1 * inverse + 12582912.0f;
    const VecI i0 = bits_as<VecI>(r0) - 0x4b400000, i1 = bits_as<VecI>(r1) - 0x4b400000;
    const int32_t sum = fold(i0 + i1, [](auto a, auto c) { return a + c; });
    offsets[b] = Bits == 8 ? -128 * sum : sum;
    BlockDots<Bits>::put(integers, i0);
    BlockDots<Bits>::put(integers + kLanes * kBytes, i1);
  }
}

void packed_quantise(PanelFormat format, int64_t n, const float* x, std::byte* integers,
                     float* scales, int32_t* offsets) {
  if (format == PanelFormat::q8) {
    quantise_to<8>(n, x, integers, scales, offsets);
  } else {
    quantise_to<4>(n, x, integers, scales, offsets);
  }
}

constexpr PackedKernels kPackedKernels = {
    packed_pack,         packed_compress, kCompresses,  packed_lay,      packed_unpack,
    packed_unpack_panel, packed_product,  packed_round, packed_quantise, packed_integer_bytes};

}  // namespace
}  // namespace continuo
