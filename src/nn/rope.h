// Rotary position embedding in the half-split layout of Hugging Face's Llama (arXiv 2104.09864).
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace continuo {

struct RopeOptions {
  int64_t dim = 0;  // rotated dimensions of a head
  double theta = 10000;
};

// cos and sin of every position, grown when a longer one is asked for.
class RopeTable {
 public:
  explicit RopeTable(const RopeOptions& options) : options_(options) {}
  // Makes positions below `length` available on `device`.
  void ensure(int64_t length, at::Device device);
  const at::Tensor& cos() const { return cos_; }  // [length, dim/2] float32
  const at::Tensor& sin() const { return sin_; }

 private:
  RopeOptions options_;
  at::Tensor cos_, sin_;
};

// x: [N, heads, dim] float32 or bfloat16, positions: [N] int64 below the table's length → the same shape, rotated.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, const RopeTable& table);

}  // namespace continuo
