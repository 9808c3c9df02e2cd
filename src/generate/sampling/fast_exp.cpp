#include "generate/sampling/fast_exp.h"

#include <bit>
#include <cstdint>

namespace continuo {
namespace {

// exp(x) = 2^n · exp(r), |r| ≤ ln 2 / 2, exp(r) by its Taylor polynomial of degree 13. No branches,
// so that the compiler can use whole vectors.
[[gnu::always_inline]] inline double exp_one(double x) {
  constexpr double kLog2E = 1.4426950408889634, kMagic = 0x1.8p52;
  constexpr double kLn2High = 0x1.62e42fefa38p-1, kLn2Low = 0x1.ef35793c7673p-45;
  x = x < -708.0 ? -708.0 : x;
  const double shifted = x * kLog2E + kMagic;  // rounds to the nearest integer in its low bits
  const double n = shifted - kMagic;
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double p = 1.0 / 6227020800;
  p = p * r + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1;
  p = p * r + 1;
  // The integer sits in the low bits of `shifted`; moved to the exponent it multiplies by 2^n.
  return std::bit_cast<double>(std::bit_cast<uint64_t>(p) +
                               (std::bit_cast<uint64_t>(shifted) << 52));
}

[[gnu::always_inline]] inline void exp_body(double* x, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] = exp_one(x[i]);
}

void exp_portable(double* x, size_t n) { exp_body(x, n); }

using ExpFunction = void (*)(double*, size_t);

#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] void exp_avx2(double* x, size_t n) { exp_body(x, n); }
[[gnu::target("avx512f,avx512dq,prefer-vector-width=512")]] void exp_avx512(double* x, size_t n) {
  exp_body(x, n);
}

ExpFunction best_exp() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return exp_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return exp_avx2;
  return exp_portable;
}
#else
ExpFunction best_exp() { return exp_portable; }
#endif

}  // namespace

void exp_nonpositive(std::span<double> x) {
  static const ExpFunction kBest = best_exp();
  kBest(x.data(), x.size());
}

}  // namespace continuo
