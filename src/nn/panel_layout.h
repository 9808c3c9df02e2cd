// How weights of 8 or 4 bits lie in panels, on any device: 32 rows of a matrix [out, in], and of
// those 32 values of k by 32, a block, one behind the other; zeros where rows or values end.
//   q8   [8][32][4] uint8 = code + 128 of four values of k for each row, then [32] half scales
//   q4   [4][32][4] uint8, code k in the low and k + 16 in the high nibble, then [32] half scales
//        and [32] half minima
// A weight is code · scale, or code · scale + minimum.
#pragma once

#include <cstdint>

namespace continuo {

inline constexpr int64_t kPanel = 32;       // output rows of a panel
inline constexpr int64_t kQuantBlock = 32;  // values of k that share a scale

constexpr int64_t packed_inputs(int64_t in) {
  return (in + kQuantBlock - 1) / kQuantBlock * kQuantBlock;
}

// Bytes of a block's codes, and of a block: codes, scales and, of four bits, minima.
constexpr int64_t quantised_code_bytes(int bits) { return kQuantBlock * kPanel * bits / 8; }
constexpr int64_t quantised_bytes(int bits) {
  return quantised_code_bytes(bits) + kPanel * (bits == 4 ? 4 : 2);
}

}  // namespace continuo
