// Rotary position embedding in the half-split layout of Hugging Face's Llama (arXiv 2104.09864),
// with the scalings that stretch it to longer contexts. Frequencies are computed as transformers
// computes them, in float32.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace continuo {

enum class RopeKind { plain, linear, dynamic, yarn, longrope, llama3 };

// How the frequencies are stretched; a kind reads the fields named beside it.
struct RopeScaling {
  RopeKind kind = RopeKind::plain;
  double factor = 1;             // linear, dynamic (NTK), yarn, llama3: longer by this much
  int64_t original_context = 0;  // of pretraining: dynamic, yarn, longrope, llama3
  double attention_factor = 1;   // yarn, longrope: multiplies cosines and sines
  // llama3: wavelengths above original_context / low_frequency are stretched, those below
  // original_context / high_frequency are not.
  double low_frequency = 1;
  double high_frequency = 4;
  // yarn (arXiv 2309.00071): rotations over the original context above which a dimension is kept
  // and below which it is stretched.
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;  // yarn: round those bounds to whole dimensions
  // longrope (arXiv 2402.13753): a divisor per pair of dimensions.
  std::vector<double> short_factors = {};
  std::vector<double> long_factors = {};

  bool operator==(const RopeScaling&) const = default;
};

struct RopeOptions {
  int64_t dim = 0;  // rotated dimensions of a head
  double theta = 10000;
  RopeScaling scaling = {};
};

// Cosines and sines for the tokens of one forward pass: token i takes row rows[i].
struct Rotation {
  at::Tensor cos, sin;  // [L, dim/2] float32
  at::Tensor rows;      // [N] int64
};

// cos and sin of every position, grown when a longer one is asked for.
class RopeTable {
 public:
  explicit RopeTable(const RopeOptions& options) : options_(options) {}

  // For documents of `lengths` tokens (those in a cache included). The frequencies of dynamic and
  // longrope depend on the length once it exceeds the original context: of the whole document, as
  // transformers has it for one document in a forward pass. With a cache it is the length so far,
  // and keys keep the rotation they were written with, again as in transformers, so that there
  // cached decoding differs slightly from a pass over the whole document.
  Rotation rotation(const at::Tensor& positions, const std::vector<int64_t>& boundaries,
                    const std::vector<int64_t>& lengths);

  // Makes positions below `length` available on `device`.
  void ensure(int64_t length, at::Device device);
  const at::Tensor& cos() const { return cos_; }  // [length, dim/2] float32
  const at::Tensor& sin() const { return sin_; }

 private:
  at::Tensor frequencies(int64_t length) const;  // [dim/2] float32 for a document of this length
  RopeOptions options_;
  at::Tensor cos_, sin_;
};

// x: [N, heads, head_dim] float32 or bfloat16 → the same shape, its first dim dimensions rotated,
// the others passed on.
at::Tensor rotate(const at::Tensor& x, const Rotation& rotation);

}  // namespace continuo
