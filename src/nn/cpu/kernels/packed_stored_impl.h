// Panels that hold a file's quantised blocks as they are (packed.h): what the products of floats
// read of them. Included by the others of packed_impl.h, behind its own.
#pragma once

namespace continuo {
namespace {

// Calls f(constant) with the format as a constant; those without blocks do not come here.
template <class F>
void with_block_format(PanelFormat format, const F& f) {
  using enum PanelFormat;
  switch (format) {
    case stored_q4_0:
      return f(std::integral_constant<PanelFormat, stored_q4_0>());
    case stored_q4_1:
      return f(std::integral_constant<PanelFormat, stored_q4_1>());
    case stored_q5_0:
      return f(std::integral_constant<PanelFormat, stored_q5_0>());
    case stored_q5_1:
      return f(std::integral_constant<PanelFormat, stored_q5_1>());
    case stored_q8_0:
      return f(std::integral_constant<PanelFormat, stored_q8_0>());
    case stored_q4_k:
      return f(std::integral_constant<PanelFormat, stored_q4_k>());
    case stored_q5_k:
      return f(std::integral_constant<PanelFormat, stored_q5_k>());
    default:
      return f(std::integral_constant<PanelFormat, stored_q6_k>());
  }
}

// Block b of a panel: 32 values of k.
struct StoredBlock {
  const uint8_t *codes, *scales;
  const uint16_t* factors;  // of the super-block
};
constexpr int64_t kSuperBlocks = kSuperBlock / kQuantBlock;
inline StoredBlock stored_block(PanelFormat format, const std::byte* panel, int64_t b) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(panel);
  const BlockShape shape = block_shape(format);
  const int64_t super = super_bytes(shape), block = block_bytes(shape);
  const uint8_t* factors = bytes + b / kSuperBlocks * (super + kSuperBlocks * block);
  const uint8_t* codes = super > 0 ? factors + super + b % kSuperBlocks * block : bytes + b * block;
  return {codes, codes + code_bytes(shape), reinterpret_cast<const uint16_t*>(factors)};
}

// A weight is code · scale + added, of the outputs of a panel.
struct StoredScales {
  Vec scale[2], added[2];
};
template <PanelFormat Format>
inline StoredScales stored_scales(const StoredBlock& block, int group) {
  constexpr BlockShape shape = block_shape(Format);
  StoredScales s;
  for (int n = 0; n < 2; ++n) {
    const int64_t at = n * kLanes;
    if constexpr (shape.super) {
      const Vec factor = load_half(block.factors + at);
      if constexpr (shape.minima) {
        const auto* minima = block.scales + kPanel;
        s.scale[n] = convert<Vec>(load_wide(block.scales + at)) * factor;
        s.added[n] =
            -(convert<Vec>(load_wide(minima + at)) * load_half(block.factors + kPanel + at));
      } else {
        const auto* scales = reinterpret_cast<const int8_t*>(block.scales) + group * kPanel;
        s.scale[n] = load(scales + at) * factor;
        s.added[n] = s.scale[n] * static_cast<float>(-shape.zero);
      }
    } else {
      const auto* halves = reinterpret_cast<const uint16_t*>(block.scales);
      s.scale[n] = load_half(halves + at);
      s.added[n] = shape.minima ? load_half(halves + kPanel + at)
                                : s.scale[n] * static_cast<float>(-shape.zero);
    }
  }
  return s;
}

// The codes for value k = 16 · Half + i of k, of outputs 16 · n and up.
template <PanelFormat Format, int Half>
inline Vec stored_codes(const uint8_t* codes, int i, int n) {
  constexpr int kBits = block_shape(Format).bits;
  const int64_t at = n * kLanes;
  if constexpr (kBits == 8) {
    return load(reinterpret_cast<const int8_t*>(codes) + (16 * Half + i) * kPanel + at);
  } else {
    const VecU byte = bits_as<VecU>(load_wide(codes + i * kPanel + at));
    VecU code = Half == 0 ? byte & 15u : byte >> 4;
    // The upper bits of all values of an output lie together in words.
    const uint8_t* upper = codes + 16 * kPanel + 4 * at;
    if constexpr (kBits == 5) code = code | ((load_as<VecU>(upper) >> (16 * Half + i)) & 1u) << 4;
    if constexpr (kBits == 6)
      code = code | ((load_as<VecU>(upper + Half * 4 * kPanel) >> (2 * i)) & 3u) << 4;
    return convert<Vec>(bits_as<VecI>(code));
  }
}

// Calls f(k, w0, w1) for the 32 values of k in ascending order, as panel_f32 reads them.
template <PanelFormat Format, class F>
[[gnu::always_inline]] inline void decode_block(const StoredBlock& block, const F& f) {
  constexpr BlockShape shape = block_shape(Format);
  StoredScales s = stored_scales<Format>(block, 0);
  const auto half = [&](auto constant) {
    constexpr int kHalf = constant();
#pragma GCC unroll 4
    for (int i = 0; i < 16; ++i) {
      Vec w[2];
      for (int n = 0; n < 2; ++n) {
        const Vec code = stored_codes<Format, kHalf>(block.codes, i, n);
        w[n] =
            shape.zero == 0 && !shape.minima ? code * s.scale[n] : code * s.scale[n] + s.added[n];
      }
      f(16 * kHalf + i, w[0], w[1]);
    }
  };
  half(std::integral_constant<int, 0>());
  if constexpr (shape.group == 16) s = stored_scales<Format>(block, 1);
  half(std::integral_constant<int, 1>());
}

// Whether products of few rows take a block's outputs in the order of `decode_block_crossed`: those
// of four bits were no faster by it.
#if defined(__AVX2__) && !defined(__AVX512F__)
template <PanelFormat Format>
constexpr bool kCrossed = block_shape(Format).bits == 5 || block_shape(Format).bits == 6;

// The 32 outputs of a panel into the order in which bytes become words within a register: four of
// the first sixteen beside four of the others; and back.
template <class V>
inline void cross(V& a, V& b) {
  const V first = lower<4>(a, b);
  b = upper<4>(a, b);
  a = first;
}

// The upper bits of codes for value i of half Half of a block, from bit 28 on, out of the words in
// which those of all values of an output lie together.
template <PanelFormat Format, int Half>
[[gnu::always_inline]] inline VecU upper_bits(VecU words, int i) {
  constexpr bool kTwo = block_shape(Format).bits == 6;
  const int at = kTwo ? 2 * i : 16 * Half + i;
  const VecU moved = at <= 28 ? words << (28 - at) : words >> (at - 28);
  return moved & (kTwo ? 0x30000000u : 0x10000000u);
}

// Four of a register's 32 bytes, and four of its upper half, each into the upper byte of a word.
template <int First>
[[gnu::always_inline]] inline decltype(VecI::low) bytes_up(__m256i bytes) {
  constexpr char kZero = -128;
  const __m128i to = _mm_setr_epi8(kZero, kZero, kZero, First, kZero, kZero, kZero, First + 1,
                                   kZero, kZero, kZero, First + 2, kZero, kZero, kZero, First + 3);
  return (decltype(VecI::low))_mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(to));
}

// As decode_block, the outputs in crossed order. A code comes into the upper byte of a word by one
// shuffle, as code · 2^24; the scale takes that back, and no bit of a weight changes.
template <PanelFormat Format, class F>
[[gnu::always_inline]] inline void decode_block_crossed(const StoredBlock& block, const F& f) {
  constexpr BlockShape shape = block_shape(Format);
  StoredScales s;
  const auto read_scales = [&](int group) __attribute__((always_inline)) {
    s = stored_scales<Format>(block, group);
    cross(s.scale[0], s.scale[1]);
    cross(s.added[0], s.added[1]);
    for (Vec& scale : s.scale) scale = scale * 0x1p-24f;
  };
  const auto half = [&](auto constant) __attribute__((always_inline)) {
    constexpr int kHalf = constant();
    const uint8_t* bits = block.codes + 16 * kPanel + (shape.bits == 6 ? kHalf * 4 * kPanel : 0);
    VecU words[2] = {load_as<VecU>(bits), load_as<VecU>(bits + 4 * kLanes)};
    cross(words[0], words[1]);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const auto* lower = reinterpret_cast<const __m256i*>(block.codes + i * kPanel);
      const __m256i both = _mm256_loadu_si256(lower),
                    bytes = _mm256_and_si256(kHalf == 0 ? both : _mm256_srli_epi16(both, 4),
                                             _mm256_set1_epi8(15));
      const VecI nibbles[2] = {{bytes_up<0>(bytes), bytes_up<8>(bytes)},
                               {bytes_up<4>(bytes), bytes_up<12>(bytes)}};
      Vec w[2];
      for (int n = 0; n < 2; ++n) {
        const VecU code = bits_as<VecU>(nibbles[n]) | upper_bits<Format, kHalf>(words[n], i);
        w[n] = convert<Vec>(bits_as<VecI>(code)) * s.scale[n] + s.added[n];
      }
      f(16 * kHalf + i, w[0], w[1]);
    }
  };
  read_scales(0);
  half(std::integral_constant<int, 0>());
  if constexpr (shape.group == 16) read_scales(1);
  half(std::integral_constant<int, 1>());
}
#else
template <PanelFormat Format>
constexpr bool kCrossed = false;
#endif

// Floats [count][kPanel] of the values [first, first + count) of k, whole blocks.
inline void decode_blocks(PanelFormat format, const std::byte* panel, int64_t first, int64_t count,
                          float* floats) {
  with_block_format(format, [&](auto constant) {
    for (int64_t k = 0; k < count; k += kQuantBlock, floats += kQuantBlock * kPanel) {
      decode_block<constant()>(stored_block(format, panel, (first + k) / kQuantBlock),
                               [&](int i, Vec w0, Vec w1) {
                                 store(floats + i * kPanel, w0);
                                 store(floats + i * kPanel + kLanes, w1);
                               });
    }
  });
}

}  // namespace
}  // namespace continuo
