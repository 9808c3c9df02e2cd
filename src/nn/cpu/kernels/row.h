// CPU kernels over one row of float logits, for sampling: they find what is worth a second look, so
// that only few tokens of a large vocabulary are touched one by one. No tensors, no threads. Sums
// are kept in double lanes of fixed order.
#pragma once

#include <cstdint>

namespace continuo {

// Tokens that share one entry of a table of block maxima.
constexpr int64_t kRowBlock = 64;
constexpr int64_t row_blocks(int64_t n) { return (n + kRowBlock - 1) / kRowBlock; }

struct RowSummary {
  float max = 0;
  int64_t live = 0;     // logits above −inf
  bool faulty = false;  // a NaN or +inf is among them; then the other fields mean nothing
};

// With y = (x − max) · scale ≤ 0. −inf adds nothing.
struct ExpSums {
  double sum = 0;       // Σ e^y
  double weighted = 0;  // Σ y·e^y, 0 unless asked for
};

struct DeviationSums {
  double sum = 0;      // Σ (x − center)
  double squares = 0;  // Σ (x − center)²
};

// The noise that Random::block(position, token >> 1) gives under `key`: see core/random.h.
struct NoiseKey {
  uint32_t key[2];
  uint64_t position;
};

// A Gumbel-max draw over the tokens first … first + n − 1, `first` even.
struct GumbelDraw {
  int64_t first, n;
  const float* x;  // [n], the logits, x[0] that of `first`
  float max, scale;
  float bar;  // the value to beat, less max · scale
  NoiseKey key;
};

struct RowKernels {
  // block_max: [row_blocks(n)], the largest of every kRowBlock logits.
  RowSummary (*summary)(int64_t n, const float* x, float* block_max);
  // The tokens with x ≥ bar, ascending, into `hits` [n] → how many. block_max: blocks whose entry
  // is lower are not looked at.
  int64_t (*reaching)(int64_t n, const float* x, const float* block_max, float bar, int32_t* hits);
  // Exponentials in float (relative error below 2e-7 for the rounded y), four of them added in
  // float, then in double: the sum is within 2e-6 of the exact one, relative, for y down to −16;
  // whatever lies below weighs too little to matter.
  ExpSums (*exp_sums)(int64_t n, const float* x, float max, float scale, bool weighted);
  // −inf is left out.
  DeviationSums (*deviations)(int64_t n, const float* x, double center);
  // Tokens that may win a draw: their offsets from `first`, ascending, into `hits` [n + 1] → how
  // many. Names every token with (x − max) · scale + noise ≥ bar, and few others.
  int64_t (*gumbel_hits)(const GumbelDraw& draw, int32_t* hits);
};

}  // namespace continuo
