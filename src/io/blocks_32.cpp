// Formats of 32 values with one scale. The low nibbles hold the first 16 values, the high ones the
// other 16. Every product and sum is rounded on its own, as in ggml: the build turns contraction to
// fused multiply-add off.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "io/block_formats.h"

namespace continuo::blocks {
namespace {

constexpr int kSize = 32, kHalf = 16;

// The fifth bits of 32 values.
uint32_t load_high_bits(const uint8_t* bytes) {
  uint32_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return bits;
}

// 1/d, and 0 for blocks that are zero or so small that their scale is: they decode to zero.
float inverse(float d) {
  const float inverted = d == 0 ? 0.0F : 1.0F / d;
  return std::isfinite(inverted) ? inverted : 0.0F;
}

}  // namespace

void q4_0_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (; count > 0; --count, blocks += 18, values += kSize) {
    const float d = load_half(blocks);
    for (int i = 0; i < kHalf; ++i) {
      values[i] = d * static_cast<float>((blocks[2 + i] & 15) - 8);
      values[i + kHalf] = d * static_cast<float>((blocks[2 + i] >> 4) - 8);
    }
  }
}

void q4_1_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (; count > 0; --count, blocks += 20, values += kSize) {
    const float d = load_half(blocks), m = load_half(blocks + 2);
    for (int i = 0; i < kHalf; ++i) {
      values[i] = d * static_cast<float>(blocks[4 + i] & 15) + m;
      values[i + kHalf] = d * static_cast<float>(blocks[4 + i] >> 4) + m;
    }
  }
}

void q5_0_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (; count > 0; --count, blocks += 22, values += kSize) {
    const float d = load_half(blocks);
    const uint32_t high = load_high_bits(blocks + 2);
    for (int i = 0; i < kHalf; ++i) {
      const uint8_t nibbles = blocks[6 + i];
      const auto low_q = static_cast<int>((nibbles & 15U) | (high >> i & 1U) << 4);
      const auto high_q =
          static_cast<int>(static_cast<uint32_t>(nibbles >> 4) | (high >> (i + kHalf) & 1U) << 4);
      values[i] = d * static_cast<float>(low_q - 16);
      values[i + kHalf] = d * static_cast<float>(high_q - 16);
    }
  }
}

void q5_1_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (; count > 0; --count, blocks += 24, values += kSize) {
    const float d = load_half(blocks), m = load_half(blocks + 2);
    const uint32_t high = load_high_bits(blocks + 4);
    for (int i = 0; i < kHalf; ++i) {
      const uint8_t nibbles = blocks[8 + i];
      values[i] = d * static_cast<float>((nibbles & 15U) | (high >> i & 1U) << 4) + m;
      values[i + kHalf] = d * static_cast<float>(static_cast<uint32_t>(nibbles >> 4) |
                                                 (high >> (i + kHalf) & 1U) << 4) +
                          m;
    }
  }
}

void q8_0_to_float(const uint8_t* blocks, float* values, int64_t count) {
  for (; count > 0; --count, blocks += 34, values += kSize) {
    const float d = load_half(blocks);
    for (int i = 0; i < kSize; ++i) {
      values[i] = static_cast<float>(static_cast<int8_t>(blocks[2 + i])) * d;
    }
  }
}

// OCP Microscaling Formats 1.0: FP4 (E2M1) values under a power of two. The table holds twice the
// values, the scale is half of 2^(e−127).
void mxfp4_to_float(const uint8_t* blocks, float* values, int64_t count) {
  constexpr std::array<float, 16> kTwice{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  for (; count > 0; --count, blocks += 17, values += kSize) {
    const uint32_t e = blocks[0];
    const auto d = std::bit_cast<float>(e < 2 ? 0x00200000U << e : (e - 1) << 23);
    for (int i = 0; i < kHalf; ++i) {
      values[i] = d * kTwice[blocks[1 + i] & 15];
      values[i + kHalf] = d * kTwice[blocks[1 + i] >> 4];
    }
  }
}

// The value of largest magnitude becomes −8 exactly.
void q4_0_from_float(const float* values, uint8_t* blocks, int64_t count) {
  for (; count > 0; --count, blocks += 18, values += kSize) {
    const float extreme = *std::max_element(
        values, values + kSize, [](float a, float b) { return std::abs(a) < std::abs(b); });
    const float d = extreme / -8;
    const float scale = inverse(d);
    store_half(d, blocks);
    const auto quantised = [&](float x) {
      return static_cast<uint8_t>(std::clamp(static_cast<int>(x * scale + 8.5F), 0, 15));
    };
    for (int i = 0; i < kHalf; ++i) {
      blocks[2 + i] =
          static_cast<uint8_t>(quantised(values[i]) | quantised(values[i + kHalf]) << 4);
    }
  }
}

void q8_0_from_float(const float* values, uint8_t* blocks, int64_t count) {
  for (; count > 0; --count, blocks += 34, values += kSize) {
    float largest = 0;
    for (int i = 0; i < kSize; ++i) largest = std::max(largest, std::abs(values[i]));
    const float d = largest / 127;
    const float scale = inverse(d);
    store_half(d, blocks);
    for (int i = 0; i < kSize; ++i) {
      blocks[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(values[i] * scale)));
    }
  }
}

}  // namespace continuo::blocks
