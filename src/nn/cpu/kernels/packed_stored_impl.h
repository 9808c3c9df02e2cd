// Panels of quantised blocks, our own and those of files as they are (packed.h): what products and
// unpacking read of them. Included by the others of packed_impl.h, behind its own.
#pragma once

namespace continuo {
namespace {

// Calls f(constant) with the shape of a format's blocks as a constant; those without blocks do not
// come here.
template <class F>
void with_block_shape(PanelFormat format, const F& f) {
  using enum PanelFormat;
  const auto call = [&](auto constant) {
    f(std::integral_constant<BlockShape, block_shape(constant())>());
  };
  switch (format) {
    case stored_q4_0:
      return call(std::integral_constant<PanelFormat, stored_q4_0>());
    case q4:
    case stored_q4_1:
      return call(std::integral_constant<PanelFormat, q4>());
    case stored_q5_0:
      return call(std::integral_constant<PanelFormat, stored_q5_0>());
    case stored_q5_1:
      return call(std::integral_constant<PanelFormat, stored_q5_1>());
    case q8:
    case stored_q8_0:
      return call(std::integral_constant<PanelFormat, q8>());
    case stored_q4_k:
      return call(std::integral_constant<PanelFormat, stored_q4_k>());
    case stored_q5_k:
      return call(std::integral_constant<PanelFormat, stored_q5_k>());
    default:
      return call(std::integral_constant<PanelFormat, stored_q6_k>());
  }
}

// Block b of a panel: 32 values of k.
struct StoredBlock {
  const uint8_t *codes, *scales;
  const uint16_t* factors;  // of the super-block
};
constexpr int64_t kSuperBlocks = kSuperBlock / kQuantBlock;
inline StoredBlock stored_block(const BlockShape& shape, const std::byte* panel, int64_t b) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(panel);
  const int64_t super = super_bytes(shape), block = block_bytes(shape);
  const uint8_t* factors = bytes + b / kSuperBlocks * (super + kSuperBlocks * block);
  const uint8_t* codes = super > 0 ? factors + super + b % kSuperBlocks * block : bytes + b * block;
  return {codes, codes + code_bytes(shape), reinterpret_cast<const uint16_t*>(factors)};
}

// Scales of sixteen outputs of a panel, from number `first` on; of the half of a block where they
// share none.
template <BlockShape S>
inline Vec stored_scales(const StoredBlock& block, int half, int64_t first) {
  if constexpr (!S.super) {
    return load_half(reinterpret_cast<const uint16_t*>(block.scales) + first);
  } else {
    const Vec factor = load_half(block.factors + first);
    if constexpr (S.minima) return convert<Vec>(load_wide(block.scales + first)) * factor;
    const auto* scales = reinterpret_cast<const int8_t*>(block.scales) + half * kPanel;
    return load(scales + first) * factor;
  }
}
// A product that stays one: added to another, the compiler would multiply anew with every sum.
template <class V>
inline V as_value(V v) {
  if constexpr (is_pair<V>) {
    return {as_value(v.low), as_value(v.high)};
  } else {
    asm("" : "+x"(v));
    return v;
  }
}
// What is added to code · scale, where it is stored.
template <BlockShape S>
inline Vec stored_minima(const StoredBlock& block, int64_t first) {
  static_assert(S.minima);
  if constexpr (!S.super) {
    return load_half(reinterpret_cast<const uint16_t*>(block.scales) + kPanel + first);
  } else {
    return as_value(-(convert<Vec>(load_wide(block.scales + kPanel + first)) *
                      load_half(block.factors + kPanel + first)));
  }
}

// Of the codes of the values [4g, 4g + 4) of a half of a block, for sixteen outputs from number
// `first` on, four in every word, what lies in bytes or nibbles; and, taken group by group, the
// bits above these, of two groups in one word (6 bits) or of four.
template <BlockShape S, int Half>
[[gnu::always_inline]] inline VecU lower_codes(const uint8_t* codes, int64_t g, int64_t first) {
  if constexpr (S.bits == 8) return load_as<VecU>(codes + ((4 * Half + g) * kPanel + first) * 4);
  const VecU bytes = load_as<VecU>(codes + (g * kPanel + first) * 4);
  return (Half == 0 ? bytes : bytes >> 4) & 0x0f0f0f0fu;
}
template <BlockShape S>
constexpr int kChunk = S.bits == 6 ? 2 : 4;  // groups whose upper bits are taken from one word
template <BlockShape S>
struct UpperBits {
  VecU words;

  VecU next() {
    const VecU bits = words & (S.bits == 5 ? 0x10101010u : 0x30303030u);
    words = words >> (S.bits - 4);
    return bits;
  }
};
template <BlockShape S>
  requires(S.bits == 4 || S.bits == 8)
struct UpperBits<S> {
  VecU next() { return VecU{}; }
};
template <BlockShape S, int Half, int Chunk>
[[gnu::always_inline]] inline UpperBits<S> upper_bits_of(const uint8_t* codes, int64_t first) {
  constexpr bool kSix = S.bits == 6;
  if constexpr (S.bits == 4 || S.bits == 8) return {};
  if constexpr (S.bits == 5 || S.bits == 6) {
    const VecU words = load_as<VecU>(codes + (4 + (kSix ? Half : 0)) * kPanel * 4 + first * 4);
    return {(kSix ? Chunk : Half) == 0 ? words : words << 4};
  }
}

// Byte J of every word as its upper one.
template <int J>
[[gnu::always_inline]] inline VecU byte_up(VecU words) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  if constexpr (J == 1 || J == 2) {
    constexpr char kZero = -128;
    const __m256i to = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(kZero, kZero, kZero, J, kZero, kZero, kZero, J + 4, kZero, kZero, kZero,
                      J + 8, kZero, kZero, kZero, J + 12));
    using Half = decltype(VecU::low);
    return {(Half)_mm256_shuffle_epi8((__m256i)words.low, to),
            (Half)_mm256_shuffle_epi8((__m256i)words.high, to)};
  }
#endif
  if constexpr (J == 0) return words << 24;
  return (words << (24 - 8 * J)) & 0xff000000u;
}

// Calls f(k, w0, w1) for the 32 values of k of a block in ascending order, as panel_f32 reads them.
// A code, less its zero, comes into the upper byte of a word, as code · 2^24; the scale takes that
// back, and no bit of a weight changes.
template <BlockShape S, class F>
[[gnu::always_inline]] inline void decode_block(const StoredBlock& block, const F& f) {
  Vec scale[2], minimum[2];
  for_each_index<2>([&](auto half) __attribute__((always_inline)) {
    for_each_index<2>([&](auto n) __attribute__((always_inline)) {
      if constexpr (half == 0 || S.group == kQuantGroup)
        scale[n] = stored_scales<S>(block, half, n * kLanes) * 0x1p-24f;
      if constexpr (half == 0 && S.minima) minimum[n] = stored_minima<S>(block, n * kLanes);
    });
    UpperBits<S> upper[2];
    for_each_index<4>([&](auto g) __attribute__((always_inline)) {
      VecU codes[2];
      for_each_index<2>([&](auto n) __attribute__((always_inline)) {
        if constexpr (g % kChunk<S> == 0)
          upper[n] = upper_bits_of<S, half(), g / kChunk<S>>(block.codes, n * kLanes);
        codes[n] = lower_codes<S, half()>(block.codes, g, n * kLanes) | upper[n].next();
        if constexpr (!S.minima)
          codes[n] = bits_as<VecU>(bits_as<VecB>(codes[n]) - static_cast<uint8_t>(S.zero));
      });
      for_each_index<4>([&](auto j) __attribute__((always_inline)) {
        const auto weight = [&](auto n) __attribute__((always_inline)) {
          const Vec code = convert<Vec>(bits_as<VecI>(byte_up<j()>(codes[n])));
          if constexpr (S.minima) return code * scale[n] + minimum[n];
          return code * scale[n];
        };
        f(16 * half + 4 * g + j, weight(std::integral_constant<int, 0>()),
          weight(std::integral_constant<int, 1>()));
      });
    });
  });
}

// Floats [count][kPanel] of the values [first, first + count) of k, whole blocks.
inline void decode_blocks(PanelFormat format, const std::byte* panel, int64_t first, int64_t count,
                          float* floats) {
  with_block_shape(format, [&](auto shape) {
    for (int64_t k = 0; k < count; k += kQuantBlock, floats += kQuantBlock * kPanel) {
      decode_block<shape()>(stored_block(shape(), panel, (first + k) / kQuantBlock),
                            [&](int i, Vec w0, Vec w1) {
                              store(floats + i * kPanel, w0);
                              store(floats + i * kPanel + kLanes, w1);
                            });
    }
  });
}

}  // namespace
}  // namespace continuo
