// Decoders and encoders of the block formats behind the table in quantise.cpp. Pointers are to
// `count` whole blocks and their values; encoders want finite values of at most ±65504.
#pragma once

#include <cstdint>
#include <cstring>

#include "io/half.h"

namespace continuo {
struct CodeLine;
}

namespace continuo::blocks {

inline float load_half(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return half_to_float(bits);
}

inline void store_half(float value, uint8_t* bytes) {
  const uint16_t bits = float_to_half(value);
  std::memcpy(bytes, &bits, sizeof bits);
}

// Blocks of 32 values (blocks_32.cpp).
void q4_0_to_float(const uint8_t* blocks, float* values, int64_t count);
void q4_1_to_float(const uint8_t* blocks, float* values, int64_t count);
void q5_0_to_float(const uint8_t* blocks, float* values, int64_t count);
void q5_1_to_float(const uint8_t* blocks, float* values, int64_t count);
void q8_0_to_float(const uint8_t* blocks, float* values, int64_t count);
void mxfp4_to_float(const uint8_t* blocks, float* values, int64_t count);
void q4_0_from_float(const float* values, uint8_t* blocks, int64_t count);
void q8_0_from_float(const float* values, uint8_t* blocks, int64_t count);

// Super-blocks of 256 values (blocks_256.cpp).
void q2_k_to_float(const uint8_t* blocks, float* values, int64_t count);
void q3_k_to_float(const uint8_t* blocks, float* values, int64_t count);
void q4_k_to_float(const uint8_t* blocks, float* values, int64_t count);
void q5_k_to_float(const uint8_t* blocks, float* values, int64_t count);
void q6_k_to_float(const uint8_t* blocks, float* values, int64_t count);
// quantise_q4_k.cpp (line_blocks.h)
void q4_k_fit(const float* values, const float* weights, uint8_t* block, CodeLine* lines);
void q4_k_write(const int8_t* codes, uint8_t* block);

}  // namespace continuo::blocks
