// What this machine can do at most: the roofs that the figures of `bench` are shares of. CPU only.
#pragma once

#include <cstdint>

#include <c10/core/ScalarType.h>

namespace continuo {

// Of several runs, in units per second: the best one, and the one in the middle.
struct Rate {
  double best = 0, median = 0;
};

// [rows, in] · [out, in]ᵀ.
struct ProductShape {
  int64_t rows, in, out;
  double flop() const { return 2.0 * static_cast<double>(rows * in) * static_cast<double>(out); }
};

// FLOP/s of at::linear without bias, with the threads that LibTorch is set to.
Rate measure_product(const ProductShape& shape, c10::ScalarType dtype, double seconds);

// Bytes/s of a plain sum over a buffer of `bytes`, in 2 MiB pages where the system gives them, by
// `threads` of LibTorch's threads.
Rate measure_read(int64_t bytes, int64_t threads, double seconds);
// A buffer that no cache holds: twice the third level as the system reports it, 256 MiB to 1 GiB.
int64_t uncached_bytes();

// Float FLOP/s of multiply-adds in registers with `threads` of LibTorch's.
Rate measure_multiply_add(int64_t threads, double seconds);
// A few milliseconds of them; returns their FLOP.
double run_multiply_adds(int64_t threads);

// FLOP/s of the fastest of a model's projections, hidden ↔ intermediate and hidden ↔ hidden, at
// `rows` rows; the best run. Takes about a second.
double product_roof(int64_t rows, int64_t hidden, int64_t intermediate, c10::ScalarType dtype);
// Bytes/s of the best run with all threads. Takes about a second.
double read_roof();

}  // namespace continuo
