// Panels whose weights are stored shorter without loss (packed.h): unpacking in registers. Included
// by packed_impl.h only. The upper byte of a weight, its sign and most of its exponent,
// takes few values within a panel and is stored as a code of four bits; the other bytes stay as
// they are.
#pragma once

namespace continuo {
namespace {

// A panel begins with its table: sixteen upper bytes, four times, so that a code's upper two bits
// do not matter.
// Values of k that are stored together, two in the low and two in the high nibbles.
constexpr int64_t kUnit = 4;

using VecB = Lanes<uint8_t, 64>;
using VecS16 = Lanes<uint16_t, 32>;
typedef uint8_t Bytes16 __attribute__((vector_size(16)));  // whatever the registers hold

// table[code & 15] for 64 codes.
template <class V>
inline V look_up(V codes, V table) {
  if constexpr (is_pair<V>) {
    return {look_up(codes.low, table.low), look_up(codes.high, table.high)};
  } else {
#if defined(__AVX512VBMI__)
    return (V)_mm512_maskz_permutexvar_epi8(~0ull, (__m512i)codes, (__m512i)table);
#elif defined(__AVX512BW__)
    return (V)_mm512_shuffle_epi8((__m512i)table, (__m512i)(codes & 15));
#elif defined(__AVX2__)
    return (V)_mm256_shuffle_epi8((__m256i)table, (__m256i)(codes & 15));
#else
    V out{};
    for (int i = 0; i < lanes_of<V>; ++i) out[i] = table[codes[i] & 15];
    return out;
#endif
  }
}

#if defined(__AVX2__)
constexpr bool kCompresses = true;
#else
constexpr bool kCompresses = false;  // one look-up at a time is slower than reading more
#endif

// The first or second halves of every 16 bytes of a and b, their elements alternating.
template <bool Second, class V>
inline V alternate(V a, V b) {
  if constexpr (is_pair<V>) {
    return {alternate<Second>(a.low, b.low), alternate<Second>(a.high, b.high)};
  } else {
    constexpr int kHalf = 8 / sizeof(Element<V>), kFrom = Second ? kHalf : 0;
    return [&]<int... I>(std::integer_sequence<int, I...>) {
      return __builtin_shufflevector(
          a, b, (I / 2 + I / (2 * kHalf) * kHalf + kFrom + I % 2 * lanes_of<V>)...);
    }(std::make_integer_sequence<int, lanes_of<V>>());
  }
}

// Where the bytes of a weight lie: `half` and `place` number its output n = 16 · half + 4 · (place
// / 4) + place % 4. Of bfloat16 pairs, 16 bytes hold four outputs of the lower half, k and k + 1
// alternating, then four of the upper half; of floats four lower and four upper outputs of k, then
// those of k + 1. Alternating bytes, and for floats words, then gives the vectors that the products
// take.
constexpr int64_t byte_of_pair(int64_t n, int64_t k) {
  return n % 16 / 4 * 16 + n / 16 * 8 + n % 4 * 2 + k % 2;
}
constexpr int64_t byte_of_float(int64_t n, int64_t k) {
  return n % 16 / 4 * 16 + k % 2 * 8 + n / 16 * 4 + n % 4;
}
constexpr int64_t word_of_float(int64_t n, int64_t k) {
  return k % 2 * 32 + n % 16 / 4 * 8 + n / 16 * 4 + n % 4;
}

constexpr int64_t unit_bytes(PanelFormat format) {
  return format == PanelFormat::f32_in_28 ? 448 : 192;
}

// Calls f(i, w0, w1) for the pairs of k in the unit at `p`: pair i as panel_bf16 reads it.
template <class F>
inline void unpack_pairs(const uint8_t* p, VecB table, const F& f) {
  const VecB codes = load_as<VecB>(p);
  const VecB shifted = bits_as<VecB>(bits_as<VecS16>(codes) >> 4);
  const auto pair = [&](int i, VecB nibbles) {
    const VecB low = load_as<VecB>(p + 64 + 64 * i), high = look_up(nibbles, table);
    f(i, bits_as<VecU>(alternate<false>(low, high)), bits_as<VecU>(alternate<true>(low, high)));
  };
  pair(0, codes);
  pair(1, shifted);
}

// Calls f(i, w0, w1) for the values of k in the unit at `p`: the i-th as panel_f32 reads it. Words:
// the low halves are there.
template <bool Words, class F>
inline void unpack_floats(const uint8_t* p, VecB table, const F& f) {
  const VecB codes = load_as<VecB>(p);
  const VecB shifted = bits_as<VecB>(bits_as<VecS16>(codes) >> 4);
  const auto value = [&](int i, VecB upper) {
    const VecS16 low = Words ? load_as<VecS16>(p + 192 + 64 * i) : VecS16{};
    f(i, bits_as<Vec>(alternate<false>(low, bits_as<VecS16>(upper))),
      bits_as<Vec>(alternate<true>(low, bits_as<VecS16>(upper))));
  };
  const auto pair = [&](int i, VecB nibbles) {
    const VecB low = load_as<VecB>(p + 64 + 64 * i), high = look_up(nibbles, table);
    value(2 * i, alternate<false>(low, high));
    value(2 * i + 1, alternate<true>(low, high));
  };
  pair(0, codes);
  pair(1, shifted);
}

// The weight at (n, k) of a compressed panel; zero where it is an exception.
inline float compressed_value(PanelFormat format, const std::byte* panel, int64_t n, int64_t k) {
  const auto* table = reinterpret_cast<const uint8_t*>(panel);
  const uint8_t* unit = table + panel_header(format) + k / kUnit * unit_bytes(format);
  const int64_t i = k % kUnit / 2;
  const int64_t place =
      format == PanelFormat::bf16_in_12 ? byte_of_pair(n, k) : byte_of_float(n, k);
  uint16_t word = 0;
  if (format == PanelFormat::f32_in_28)
    std::memcpy(&word, unit + 192 + 128 * i + 2 * word_of_float(n, k), sizeof word);
  const uint32_t bits = static_cast<uint32_t>(table[unit[place] >> (4 * i) & 15]) << 24 |
                        static_cast<uint32_t>(unit[64 + 64 * i + place]) << 16 | word;
  return bits_as<float>(bits);
}

}  // namespace
}  // namespace continuo
