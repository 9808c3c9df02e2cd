// Packing of compressed panels (compressed_impl.h). Included by packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_pack_impl.h"

namespace continuo {
namespace {

typedef uint8_t Bytes32 __attribute__((vector_size(32)));

// The output whose weights lie at `place` among the bytes of a value of k.
constexpr int64_t output_at(int64_t place) {
  return place % 8 / 4 * 16 + place / 8 * 4 + place % 4;
}
static_assert(byte_of_float(output_at(13), 0) == 13 / 8 * 16 + 13 % 8);
static_assert(byte_of_pair(output_at(13), 1) == 2 * 13 + 1);
static_assert(word_of_float(output_at(13), 1) == 32 + 13);

// The weights of 32 outputs: their upper bytes, those below them, and the lower halves.
struct ApartWeights {
  Bytes32 upper, middle;
  alignas(32) uint16_t words[kPanel];
};

ApartWeights take_apart(const float* row) {
  ApartWeights apart;
#if defined(__AVX2__)
  const auto at = [&](int i) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(row) + i);
  };
  // What two registers' halves are narrowed to has to change places in the middle.
  const auto narrow = [](__m256i a, __m256i b) {
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
  };
  const auto narrower = [](__m256i a, __m256i b) {
    return (Bytes32)_mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xd8);
  };
  const __m256i word = _mm256_set1_epi32(0xffff), byte = _mm256_set1_epi16(0xff);
  __m256i high[2];
  for (int i = 0; i < 2; ++i) {
    const __m256i a = at(2 * i), b = at(2 * i + 1);
    const __m256i low = narrow(_mm256_and_si256(a, word), _mm256_and_si256(b, word));
    _mm256_store_si256(reinterpret_cast<__m256i*>(apart.words) + i, low);
    high[i] = narrow(_mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16));
  }
  apart.middle = narrower(_mm256_and_si256(high[0], byte), _mm256_and_si256(high[1], byte));
  apart.upper = narrower(_mm256_srli_epi16(high[0], 8), _mm256_srli_epi16(high[1], 8));
#else
  for (int64_t i = 0; i < kPanel; ++i) {
    const auto bits = bits_as<uint32_t>(row[i]);
    apart.upper[i] = static_cast<uint8_t>(bits >> 24);
    apart.middle[i] = static_cast<uint8_t>(bits >> 16);
    apart.words[i] = static_cast<uint16_t>(bits);
  }
#endif
  return apart;
}

// A panel's table, and the code of every upper byte that is in it.
class UpperBytes {
 public:
  // The most frequent ones; zero is always there: what has no code becomes zero.
  UpperBytes(int64_t in, const float* const* rows) {
    // Weights of one sign and size follow each other: several counters a byte keep an addition from
    // waiting for the one before.
    constexpr int64_t kCounters = 4;
    uint32_t counts[kCounters][256] = {};
    for (int64_t n = 0; n < kPanel; ++n) {
      if (!rows[n]) continue;
      for (int64_t k = 0; k < in; ++k) ++counts[k % kCounters][bits_as<uint32_t>(rows[n][k]) >> 24];
    }
    bool coded[256] = {true};
    for (int code = 1; code < 16; ++code) {
      int most = 0;
      uint32_t times = 0;
      for (int b = 1; b < 256; ++b) {
        const uint32_t here = counts[0][b] + counts[1][b] + counts[2][b] + counts[3][b];
        if (!coded[b] && (most == 0 || here > times)) most = b, times = here;
      }
      add(static_cast<uint8_t>(most), static_cast<uint8_t>(code));
      coded[most] = true;
    }
  }

  const uint8_t* table() const { return table_; }

  // Zero for those without one.
  Bytes32 codes_of(Bytes32 upper) const {
#if defined(__AVX2__)
    const __m256i nibble = _mm256_set1_epi8(15), bytes = (__m256i)upper;
    const __m256i low = _mm256_and_si256(bytes, nibble),
                  high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
    __m256i codes = _mm256_setzero_si256();
    for (int i = 0; i < groups_; ++i) {
      const __m256i there =
          _mm256_cmpeq_epi8(high, _mm256_set1_epi8(static_cast<char>(nibbles_[i])));
      codes = _mm256_or_si256(codes,
                              _mm256_and_si256(there, _mm256_shuffle_epi8(twice(codes_[i]), low)));
    }
    return (Bytes32)codes;
#else
    Bytes32 codes{};
    for (int i = 0; i < groups_; ++i) {
      for (int n = 0; n < 32; ++n) {
        if (upper[n] >> 4 == nibbles_[i]) codes[n] = codes_[i][upper[n] & 15];
      }
    }
    return codes;
#endif
  }

  // Whether these codes stand for these bytes.
  bool hold(Bytes32 codes, Bytes32 upper) const {
#if defined(__AVX2__)
    const __m256i found = _mm256_shuffle_epi8(twice(table_), (__m256i)codes);
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(found, (__m256i)upper)) == -1;
#else
    for (int n = 0; n < 32; ++n) {
      if (table_[codes[n]] != upper[n]) return false;
    }
    return true;
#endif
  }

 private:
#if defined(__AVX2__)
  static __m256i twice(const uint8_t* bytes) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
  }
#endif
  void add(uint8_t byte, uint8_t code) {
    table_[code] = byte;
    int group = 0;
    while (group < groups_ && nibbles_[group] != byte >> 4) ++group;
    if (group == groups_) nibbles_[groups_++] = static_cast<uint8_t>(byte >> 4);
    codes_[group][byte & 15] = code;
  }

  uint8_t table_[16] = {};
  // The codes of those bytes of the table whose upper four bits are alike.
  int groups_ = 0;
  uint8_t nibbles_[16] = {}, codes_[16][16] = {};
};

// Two values of k, eight outputs of one and eight of the other in turn.
void store_eights(uint8_t* to, Bytes32 even, Bytes32 odd) {
  typedef uint64_t Eights __attribute__((vector_size(32)));
  const auto a = bits_as<Eights>(even), b = bits_as<Eights>(odd);
  store_as(to, __builtin_shufflevector(a, b, 0, 4, 1, 5));
  store_as(to + 32, __builtin_shufflevector(a, b, 2, 6, 3, 7));
}

// Two values of k, an output of one and one of the other in turn.
void store_ones(uint8_t* to, Bytes32 even, Bytes32 odd) {
  for (int half = 0; half < 2; ++half) {
    Bytes16 a, b;
    std::memcpy(&a, reinterpret_cast<const char*>(&even) + 16 * half, 16);
    std::memcpy(&b, reinterpret_cast<const char*>(&odd) + 16 * half, 16);
    store_as(to + 32 * half, alternate<false>(a, b));
    store_as(to + 32 * half + 16, alternate<true>(a, b));
  }
}

// Four values of k of a panel's outputs.
struct CompressedUnit {
  ApartWeights apart[kUnit];
  Bytes32 codes[kUnit];

  void store(PanelFormat format, uint8_t* unit) const {
    typedef uint16_t Words __attribute__((vector_size(32)));
    const auto put = format == PanelFormat::bf16_in_12 ? store_ones : store_eights;
    // Those of the second pair of values stand in the upper nibbles.
    const auto joined = [&](int k) {
      return codes[k] | bits_as<Bytes32>(bits_as<Words>(codes[k + 2]) << 4);
    };
    put(unit, joined(0), joined(1));
    put(unit + 64, apart[0].middle, apart[1].middle);
    put(unit + 128, apart[2].middle, apart[3].middle);
    if (format != PanelFormat::f32_in_28) return;
    for (int k = 0; k < kUnit; ++k) {
      std::memcpy(unit + 192 + k * sizeof apart[k].words, apart[k].words, sizeof apart[k].words);
    }
  }
};

// Rounds a row of 32 floats to bfloat16 in place.
void round_row(float* row) {
  for (int64_t n = 0; n < kPanel; n += kLanes) {
    uint16_t halves[kLanes];
    store(halves, load(row + n));
    store(row + n, load(halves));
  }
}

// Packs; weights whose upper byte has no code become zero and are listed. → how many; above
// `capacity` the panel is unusable.
int64_t packed_compress(PanelFormat format, int64_t in, const float* const* rows, std::byte* panel,
                        Exception* exceptions, int64_t capacity) {
  const UpperBytes bytes(in, rows);
  const float* placed[kPanel];
  for (int64_t i = 0; i < kPanel; ++i) placed[i] = rows[output_at(i)];
  auto* unit = reinterpret_cast<uint8_t*>(panel);
  for (int i = 0; i < 4; ++i) std::memcpy(unit + 16 * i, bytes.table(), 16);
  unit += panel_header(format);
  int64_t found = 0;
  for (int64_t first = 0; first < packed_inputs(in); first += kQuantBlock) {
    WeightBlock block = gather_block(in, placed, first);
    for (int64_t k = 0; k < kQuantBlock; k += kUnit, unit += unit_bytes(format)) {
      CompressedUnit packed;
      for (int64_t i = 0; i < kUnit; ++i) {
        float* const row = block.at[k + i];
        if (format == PanelFormat::bf16_in_12) round_row(row);
        ApartWeights& apart = packed.apart[i];
        apart = take_apart(row);
        packed.codes[i] = bytes.codes_of(apart.upper);
        if (bytes.hold(packed.codes[i], apart.upper)) continue;
        for (int64_t place = 0; place < kPanel; ++place) {
          if (bytes.table()[packed.codes[i][place]] == apart.upper[place]) continue;
          if (found == capacity) return capacity + 1;
          exceptions[found++] = {static_cast<uint32_t>(output_at(place)),
                                 static_cast<uint32_t>(first + k + i), row[place]};
          row[place] = 0;
        }
        apart = take_apart(row);
        packed.codes[i] = bytes.codes_of(apart.upper);
      }
      packed.store(format, unit);
    }
  }
  return found;
}

}  // namespace
}  // namespace continuo
