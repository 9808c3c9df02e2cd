// Rotary position embedding in the half-split layout of Hugging Face's Llama (arXiv 2104.09864),
// with the scalings that stretch it to longer contexts. Frequencies are computed as transformers
// computes them, in float32.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/model_spec.h"

namespace continuo {

// Cosines and sines for the tokens of one forward pass: token i takes row rows[i].
struct Rotation {
  at::Tensor cos, sin;  // [L, dim/2] float32
  at::Tensor rows;      // [N] int64
};

// cos and sin of every position, grown when a longer one is asked for.
class RopeTable {
 public:
  explicit RopeTable(const Rotary& options) : options_(options) {}

  // For documents of `lengths` tokens (those in a cache included). The frequencies of dynamic and
  // longrope depend on the length once it exceeds the original context: of the whole document, as
  // transformers has it for one document in a forward pass. With a cache it is the length so far,
  // and keys keep the rotation they were written with, again as in transformers, so that there
  // cached decoding differs slightly from a pass over the whole document.
  Rotation rotation(const at::Tensor& positions, const std::vector<int64_t>& boundaries,
                    std::span<const int64_t> lengths);

  // Makes positions below `length` available on `device`.
  void ensure(int64_t length, at::Device device);
  const at::Tensor& cos() const { return cos_; }  // [length, dim/2] float32
  const at::Tensor& sin() const { return sin_; }

 private:
  at::Tensor frequencies(int64_t length) const;  // [dim/2] float32 for a document of this length
  Rotary options_;
  at::Tensor cos_, sin_;
};

// x: [N, heads, head_dim] float32 or bfloat16 → the same shape, its first dim dimensions rotated,
// the others passed on.
at::Tensor rotate(const at::Tensor& x, const Rotation& rotation);

}  // namespace continuo
