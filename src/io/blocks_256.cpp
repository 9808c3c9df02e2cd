// The k-quants: super-blocks of 256 values whose sub-blocks have scales (and minima) that are
// themselves quantised. Every product and sum is rounded on its own, as in ggml.
#include <array>

#include "io/block_formats.h"

namespace continuo::blocks {
namespace {

constexpr int kSize = 256;

struct ScaleMin {
  int scale, min;
};

// The 6-bit scale and minimum of sub-block `j` of 8, of Q4_K and Q5_K: 12 bytes hold four scales,
// four minima, and the low nibbles of the other eight whose upper bits fill the first eight bytes.
ScaleMin unpack_scale_min(const uint8_t* packed, int j) {
  if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
  return {(packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4, (packed[j + 4] >> 4) | (packed[j] >> 6)
                                                                                       << 4};
}

// The 16 six-bit scales of Q3_K, less 32: low nibbles in 8 bytes, upper two bits in 4.
std::array<int, 16> unpack_q3_scales(const uint8_t* packed) {
  std::array<int, 16> scales;
  for (int j = 0; j < 16; ++j) {
    const int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
    const int high = packed[8 + j % 4] >> 2 * (j / 4) & 3;
    scales[static_cast<size_t>(j)] = (low | high << 4) - 32;
  }
  return scales;
}

}  // namespace

// {scales[16], qs[64], d, dmin}: 4 bits of scale and of minimum per 16 values.
void q2_k_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (; count > 0; --count, blocks += 84, values += kSize) {
    const uint8_t* const qs = blocks + 16;
    const float d = load_half(blocks + 80), dmin = load_half(blocks + 82);
    for (int i = 0; i < kSize; ++i) {
      const int half = i / 128, shift = i / 32 % 4 * 2;
      const uint8_t scale = blocks[i / 16];
      const int q = qs[half * 32 + i % 32] >> shift & 3;
      values[i] = d * static_cast<float>(scale & 15) * static_cast<float>(q) -
                  dmin * static_cast<float>(scale >> 4);
    }
  }
}

// {hmask[32], qs[64], scales[12], d}: a clear bit of hmask subtracts 4.
void q3_k_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (; count > 0; --count, blocks += 110, values += kSize) {
    const uint8_t* const qs = blocks + 32;
    const auto scales = unpack_q3_scales(blocks + 96);
    const float d = load_half(blocks + 108);
    for (int i = 0; i < kSize; ++i) {
      const int low = qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
      const int high = blocks[i % 32] >> i / 32 & 1;
      values[i] = d * static_cast<float>(scales[static_cast<size_t>(i / 16)]) *
                  static_cast<float>(low - (high ? 0 : 4));
    }
  }
}

// {d, dmin, scales[12], qs[128]}: 32 bytes of qs hold two sub-blocks, low nibbles first.
void q4_k_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (; count > 0; --count, blocks += 144, values += kSize) {
    const float d = load_half(blocks), dmin = load_half(blocks + 2);
    for (int j = 0; j < 8; ++j) {
      const ScaleMin packed = unpack_scale_min(blocks + 4, j);
      const float scale = d * static_cast<float>(packed.scale);
      const float min = dmin * static_cast<float>(packed.min);
      const uint8_t* const qs = blocks + 16 + j / 2 * 32;
      for (int i = 0; i < 32; ++i) {
        values[j * 32 + i] = scale * static_cast<float>(qs[i] >> (j % 2 * 4) & 15) - min;
      }
    }
  }
}

// {d, dmin, scales[12], qh[32], qs[128]}: Q4_K with a fifth bit, bit j of qh for sub-block j.
void q5_k_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (; count > 0; --count, blocks += 176, values += kSize) {
    const float d = load_half(blocks), dmin = load_half(blocks + 2);
    const uint8_t* const qh = blocks + 16;
    for (int j = 0; j < 8; ++j) {
      const ScaleMin packed = unpack_scale_min(blocks + 4, j);
      const float scale = d * static_cast<float>(packed.scale);
      const float min = dmin * static_cast<float>(packed.min);
      const uint8_t* const qs = blocks + 48 + j / 2 * 32;
      for (int i = 0; i < 32; ++i) {
        const int q = (qs[i] >> (j % 2 * 4) & 15) | (qh[i] >> j & 1) << 4;
        values[j * 32 + i] = scale * static_cast<float>(q) - min;
      }
    }
  }
}

// {ql[128], qh[64], i8 scales[16], d}: 4 + 2 bits, less 32.
void q6_k_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (; count > 0; --count, blocks += 210, values += kSize) {
    const uint8_t* const qh = blocks + 128;
    const uint8_t* const scales = blocks + 192;
    const float d = load_half(blocks + 208);
    for (int i = 0; i < kSize; ++i) {
      const int half = i / 128;
      const int low = blocks[half * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
      const int high = qh[half * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
      values[i] = d * static_cast<float>(static_cast<int8_t>(scales[i / 16])) *
                  static_cast<float>((low | high << 4) - 32);
    }
  }
}

}  // namespace continuo::blocks
