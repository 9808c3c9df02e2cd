// How parameters lie in buckets: flat runs of memory whose gradients travel together. A pure
// function of shapes and of the number of ranks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace continuo {

// Elements to a multiple of which pieces begin: 64 bytes of float32.
inline constexpr int64_t kPieceAlignment = 16;
constexpr int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

struct BucketPiece {
  size_t parameter = 0;  // index
  int64_t at = 0;        // element of the bucket where it begins
  int64_t count = 0;
};

struct Bucket {
  std::vector<BucketPiece> pieces;
  int64_t size = 0;  // elements, those between pieces and at the end included
  bool decays = false, rounded = false;
};

struct PlannedParameter {
  int64_t count = 0;
  bool decays = false;
  bool rounded = false;  // on the way to those that read it
};

// Parameters in the reverse of their order, as backward passes reach them; a bucket holds up to
// `elements`, or one parameter that is larger, and only such as decay and are rounded alike. Pieces
// begin at multiples of 16 elements (64 bytes of float32), and so do the `ranks` equal parts of a
// bucket.
std::vector<Bucket> plan_buckets(std::span<const PlannedParameter> parameters, int64_t ranks,
                                 int64_t elements);

}  // namespace continuo
