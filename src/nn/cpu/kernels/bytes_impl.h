// Sixteen bytes at a time, whatever the registers hold. Included by packed_impl.h only.
#pragma once

namespace continuo {
namespace {

typedef uint8_t Bytes16 __attribute__((vector_size(16)));

// The lower halves of a and b, or the upper ones, their bytes alternating.
inline Bytes16 alternate_lower(Bytes16 a, Bytes16 b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Bytes16 alternate_upper(Bytes16 a, Bytes16 b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                 31);
}

}  // namespace
}  // namespace continuo
