#include "core/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace continuo {
namespace {

// Finalizer of SplitMix64 (Steele, Lea, Flood 2014).
uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
  x = (x ^ x >> 27) * 0x94D049BB133111EB;
  return x ^ x >> 31;
}

}  // namespace

double Random::normal(uint64_t a, uint64_t b) const {
  auto [u, v] = block(a, b);
  return std::sqrt(-2 * std::log(to_uniform_open(u))) *
         std::cos(2 * std::numbers::pi * to_uniform(v));
}

Permutation::Permutation(int64_t n, uint64_t seed, uint64_t epoch) : n_(n) {
  if (n < 0) fail("a permutation needs a size of at least 0, got {}", n);
  // At least 8 bits: smaller networks cannot express every order of a handful of items.
  int bits = std::bit_width(static_cast<uint64_t>(std::max<int64_t>(n - 1, 1)));
  half_bits_ = std::max(4, (bits + 1) / 2);
  Random random(seed, "permutation");
  for (int round = 0; round < kRounds; ++round) keys_[round] = random.bits(epoch, round);
}

int64_t Permutation::operator()(int64_t index) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t x = static_cast<uint64_t>(index);
  do {
    uint64_t left = x >> half_bits_, right = x & mask;
    for (uint64_t key : keys_) {
      uint64_t next = left ^ (mix(right ^ key) & mask);
      left = right, right = next;
    }
    x = left << half_bits_ | right;
  } while (x >= static_cast<uint64_t>(n_));
  return static_cast<int64_t>(x);
}

}  // namespace continuo
