// Randomness as a pure function: a value depends on its key alone, never on what was drawn before,
// on threads or on batch composition. Built on Philox4x32-10 (Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace continuo {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

// One block of 128 random bits.
constexpr PhiloxCounter philox4x32(PhiloxCounter c, PhiloxKey k) {
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k = {k[0] + 0x9E3779B9, k[1] + 0xBB67AE85};
  }
  return c;
}

// Random values under a seed for one purpose ("sampling", "init"); purposes of one seed are
// independent. The 128 bits (a, b) name the value: random.uniform(sequence, position << 32 |
// token).
class Random {
 public:
  constexpr Random(uint64_t seed, std::string_view purpose) : key_(derive(seed, purpose)) {}

  constexpr PhiloxKey key() const { return key_; }
  // The halves are words 0, 1 and 2, 3 of philox4x32 at counter (a, b), low words first.
  constexpr std::array<uint64_t, 2> block(uint64_t a, uint64_t b = 0) const {
    PhiloxCounter r = philox4x32({static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32),
                                  static_cast<uint32_t>(b), static_cast<uint32_t>(b >> 32)},
                                 key_);
    return {r[0] | uint64_t{r[1]} << 32, r[2] | uint64_t{r[3]} << 32};
  }
  constexpr uint64_t bits(uint64_t a, uint64_t b = 0) const { return block(a, b)[0]; }

  // In [0, 1), a multiple of 2^-53.
  constexpr double uniform(uint64_t a, uint64_t b = 0) const { return to_uniform(bits(a, b)); }
  // Uniform on [0, n), n > 0; the bias is below n / 2^64.
  constexpr uint64_t below(uint64_t n, uint64_t a, uint64_t b = 0) const {
    return static_cast<uint64_t>(static_cast<__uint128_t>(bits(a, b)) * n >> 64);
  }
  // Standard normal (Box-Muller).
  double normal(uint64_t a, uint64_t b = 0) const;

  static constexpr double to_uniform(uint64_t bits) {
    return static_cast<double>(bits >> 11) * 0x1p-53;
  }
  // In (0, 1): safe under log() and log1p(-x). 52 bits and a half: with 53 the largest value would
  // round to 1.
  static constexpr double to_uniform_open(uint64_t bits) {
    return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;
  }

 private:
  static constexpr PhiloxKey derive(uint64_t seed, std::string_view purpose) {
    uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
    for (char c : purpose) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
    PhiloxCounter r =
        philox4x32({static_cast<uint32_t>(hash), static_cast<uint32_t>(hash >> 32), 0, 0},
                   {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
    return {r[0], r[1]};
  }

  PhiloxKey key_;
};

// A random bijection on [0, n), evaluated point by point in O(1) memory: a Feistel network on the
// next power of four, walked along its cycles until it lands below n (Black and Rogaway, "Ciphers
// with arbitrary finite domains", 2002).
class Permutation {
 public:
  // Error: n < 0.
  Permutation(int64_t n, uint64_t seed, uint64_t epoch);

  int64_t size() const { return n_; }
  // Where position `index` of the order points; 0 ≤ index < size().
  int64_t operator()(int64_t index) const;

 private:
  static constexpr int kRounds = 8;
  int64_t n_;
  int half_bits_;
  std::array<uint64_t, kRounds> keys_;
};

}  // namespace continuo
