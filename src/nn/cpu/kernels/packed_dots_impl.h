// Products of integers (packed.h): codes of a block with activations of 8 bits. Included by
// packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_stored_impl.h"

namespace continuo {
namespace {

#if defined(__AVX512VNNI__)
// sum[i] + Σ_j w[4i + j] · x[j]: unsigned codes, four signed activations for every lane.
inline VecI dot4(VecI sum, VecU codes, int32_t x) {
  return (VecI)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)codes, _mm512_set1_epi32(x));
}
#elif defined(__AVX2__)
// In parts of one register. Of every two bytes the products, added, in 16 bits: unsigned with
// signed.
template <class P, class U>
[[gnu::always_inline]] inline P byte_products(U codes, U x) {
  if constexpr (is_pair<P>) {
    using Part = decltype(P::low);
    return {byte_products<Part>(codes.low, x.low), byte_products<Part>(codes.high, x.high)};
  } else {
#if defined(__AVX512F__)
    return (P)_mm512_maddubs_epi16((__m512i)codes, (__m512i)x);
#else
    return (P)_mm256_maddubs_epi16((__m256i)codes, (__m256i)x);
#endif
  }
}
// Of every two integers of 16 bits the sum, in 32.
template <class I, class P>
[[gnu::always_inline]] inline I pair_sums(P pairs) {
  if constexpr (is_pair<I>) {
    using Part = decltype(I::low);
    return {pair_sums<Part>(pairs.low), pair_sums<Part>(pairs.high)};
  } else {
#if defined(__AVX512F__)
    return (I)_mm512_madd_epi16((__m512i)pairs, _mm512_set1_epi16(1));
#else
    return (I)_mm256_madd_epi16((__m256i)pairs, _mm256_set1_epi16(1));
#endif
  }
}
// Of signed bytes the sizes; and x where they are positive, −x where they are negative. Of w = 0
// either will do.
template <class U>
[[gnu::always_inline]] inline U byte_sizes(U w) {
  if constexpr (is_pair<U>) {
    return {byte_sizes(w.low), byte_sizes(w.high)};
  } else {
#if defined(__AVX512F__)
    return (U)_mm512_abs_epi8((__m512i)w);
#else
    return (U)_mm256_abs_epi8((__m256i)w);
#endif
  }
}
template <class U>
[[gnu::always_inline]] inline U with_sign_of(U w, U x) {
  if constexpr (is_pair<U>) {
    return {with_sign_of(w.low, x.low), with_sign_of(w.high, x.high)};
  } else {
#if defined(__AVX512F__)
    const __m512i zero = _mm512_setzero_si512();
    return (U)_mm512_mask_sub_epi8((__m512i)x, _mm512_movepi8_mask((__m512i)w), zero, (__m512i)x);
#else
    return (U)_mm256_sign_epi8((__m256i)x, (__m256i)w);
#endif
  }
}
#else
inline VecI dot4(VecI sum, VecU codes, int32_t x) {
  const VecI wide = bits_as<VecI>(codes);
  int8_t parts[4];
  std::memcpy(parts, &x, sizeof parts);
  for (int j = 0; j < 4; ++j) sum += ((wide >> (8 * j)) & 0xff) * parts[j];
  return sum;
}
#endif

[[gnu::always_inline]] inline int32_t four_bytes(const int8_t* at) {
  int32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// start + Σ code · x of up to 32 values of k for sixteen outputs, four at a time; codes have so
// many bits. start(zero, sum): where sums begin so that a code of `zero` counts nothing, if Σ x is
// `sum`. kGroups: of four values, that may be added before a `fold`.
#if defined(__AVX2__) && !defined(__AVX512VNNI__)
// Two products of the unsigned with the signed come as one sum of 16 bits, several of which fit
// into those: 8 · 2 · 15 · 127 < 2^15 of four bits, 4 and 2 times two of five and six.
template <int Bits>
struct BlockDots {
  static constexpr int kGroups = Bits == 4 ? 8 : Bits == 5 ? 4 : 2;
  static int32_t start(int zero, int32_t sum) { return -zero * sum; }
  using Pairs = Lanes<int16_t, 2 * kLanes>;
  Pairs pairs;
  VecI sum;

  BlockDots() = default;
  explicit BlockDots(int32_t from) : pairs{}, sum(VecI{} + from) {}
  void add(VecU codes, const int8_t* x) {
    pairs += byte_products<Pairs>(codes, broadcast<VecU>(four_bytes(x)));
  }
  void fold() {
    sum = total();
    pairs = Pairs{};
  }
  VecI total() const { return sum + pair_sums<VecI>(pairs); }
};

// Of eight bits 2 · 255 · 127 does not fit, but 2 · 128 · 127 does: codes lose their zero, 128, and
// their sign goes to the activations.
template <>
struct BlockDots<8> {
  static constexpr int kGroups = 8;
  static int32_t start(int, int32_t) { return 0; }
  VecI sum;

  BlockDots() = default;
  explicit BlockDots(int32_t from) : sum(VecI{} + from) {}
  void add(VecU codes, const int8_t* x) {
    const VecU w = codes ^ 0x80808080u;
    sum += pair_sums<VecI>(byte_products<Lanes<int16_t, 2 * kLanes>>(
        byte_sizes(w), with_sign_of(w, broadcast<VecU>(four_bytes(x)))));
  }
  void fold() {}
  VecI total() const { return sum; }
};
#else
template <int Bits>
struct BlockDots {
  static constexpr int kGroups = 8;
  static int32_t start(int zero, int32_t sum) { return -zero * sum; }
  VecI sum;

  BlockDots() = default;
  explicit BlockDots(int32_t from) : sum(VecI{} + from) {}
  void add(VecU codes, const int8_t* x) { sum = dot4(sum, codes, four_bytes(x)); }
  void fold() {}
  VecI total() const { return sum; }
};
#endif

// The rows of activations that are multiplied at once, of blocks from number `block` on.
struct IntegerRows {
  const PackedInput& x;
  int64_t row, stride, block;

  const int8_t* values(int m, int64_t k) const {
    return x.integers + (row + m) * stride + block * kQuantBlock + k;
  }
  int64_t at(int m) const { return (row + m) * (stride / kQuantBlock) + block; }
  float scale(int m) const { return x.scales[at(m)]; }
  float total(int m) const { return x.totals[at(m)]; }
  int32_t sum(int m, int half) const { return x.sums[2 * at(m) + half]; }
  int32_t sum(int m) const { return sum(m, 0) + sum(m, 1); }
};

// f(0) … f(Count − 1), one after the other in a loop or each with its number as a constant.
template <int Count, bool Loop, class F>
[[gnu::always_inline]] inline void repeat(const F& f) {
  if constexpr (Loop) {
#pragma GCC unroll 1
    for (int i = 0; i < Count; ++i) f(i);
  } else {
    for_each_index<Count>(f);
  }
}

// One group of four values of k, from number `k` of the block on.
template <int Bits, int M, int N>
[[gnu::always_inline]] inline void add_group(const IntegerRows& x, int64_t k,
                                             const VecU (&codes)[N],
                                             BlockDots<Bits> (&part)[M][N]) {
  for_each_index<M>([&](auto m) __attribute__((always_inline)) {
    const int8_t* four = x.values(m, k);
    for_each_index<N>([&](auto n)
                          __attribute__((always_inline)) { part[m][n].add(codes[n], four); });
  });
}

// Adds a block of four bits, whose bytes are read once for both halves.
template <int M, int N, class Prefetch>
[[gnu::always_inline]] inline void add_nibbles(const StoredBlock& block, int64_t first,
                                               const IntegerRows& x, const Prefetch& prefetch,
                                               BlockDots<4> (&part)[M][N]) {
  for_each_index<4>([&](auto g) __attribute__((always_inline)) {
    prefetch(block.codes + g * kPanel * 4, 2);
    VecU lower[N], upper[N];
    for_each_index<N>([&](auto n) __attribute__((always_inline)) {
      const VecU bytes = load_as<VecU>(block.codes + (g * kPanel + first + n * kLanes) * 4);
      lower[n] = bytes & 0x0f0f0f0fu;
      upper[n] = (bytes >> 4) & 0x0f0f0f0fu;
    });
    add_group(x, 4 * g, lower, part);
    add_group(x, 16 + 4 * g, upper, part);
  });
}

// Adds half a block: four groups of four values of k. Of many rows with N = 1 in loops: registers
// do not hold the sums beside what g++ 12 makes of all groups at once.
template <BlockShape S, int Half, int M, int N, class Prefetch>
[[gnu::always_inline]] inline void add_half(const StoredBlock& block, int64_t first,
                                            const IntegerRows& x, const Prefetch& prefetch,
                                            BlockDots<S.bits> (&part)[M][N]) {
  for_each_index<4 / kChunk<S>>([&](auto chunk) __attribute__((always_inline)) {
    UpperBits<S> upper[N];
    for_each_index<N>([&](auto n) __attribute__((always_inline)) {
      upper[n] = upper_bits_of<S, Half, chunk()>(block.codes, first + n * kLanes);
    });
    repeat<kChunk<S>, N == 1>([&](auto i) __attribute__((always_inline)) {
      const int g = kChunk<S> * chunk + i;
      if constexpr (S.bits == 8 || Half == 0)
        prefetch(block.codes + (4 * Half + g) * kPanel * 4, 2);
      VecU codes[N];
      for_each_index<N>([&](auto n) __attribute__((always_inline)) {
        codes[n] = lower_codes<S, Half>(block.codes, g, first + n * kLanes) | upper[n].next();
      });
      add_group(x, 16 * Half + 4 * g, codes, part);
    });
    if constexpr (BlockDots<S.bits>::kGroups < 8) {
      for_each_index<M>([&](auto m) __attribute__((always_inline)) {
        for_each_index<N>([&](auto n) __attribute__((always_inline)) { part[m][n].fold(); });
      });
    }
  });
}

}  // namespace
}  // namespace continuo
