// A matrix [out, in] of a model wherever it lies, in a device's memory or in a file: whoever makes
// something of it reads it a block of rows at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include <ATen/core/Tensor.h>

#include "nn/weight_format.h"

namespace continuo {

class WeightMatrix {
 public:
  // Rows [begin, end) in any floating type, to be read, and dropped before the next are asked for.
  // Out of a file they come to the CPU.
  using Rows = std::function<at::Tensor(int64_t begin, int64_t end)>;

  // The same rows undecoded: [end − begin, bytes of a row] uint8.
  struct BlockRows {
    BlockFormat format;
    Rows rows;
  };

  WeightMatrix() = default;
  WeightMatrix(const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    tensor_ = tensor.detach();
    out_ = tensor.size(0);
    in_ = tensor.size(1);
  }
  WeightMatrix(int64_t out, int64_t in, Rows rows, std::optional<BlockRows> blocks = {})
      : out_(out), in_(in), rows_(std::move(rows)), blocks_(std::move(blocks)) {}

  bool defined() const { return rows_ || tensor_.defined(); }
  int64_t out() const { return out_; }
  int64_t in() const { return in_; }
  at::Tensor rows(int64_t begin, int64_t end) const {
    return rows_ ? rows_(begin, end) : tensor_.narrow(0, begin, end - begin);
  }
  const at::Tensor& in_memory() const { return tensor_; }  // undefined where it is not
  // Of a matrix that is quantised where it lies.
  const std::optional<BlockRows>& blocks() const { return blocks_; }

 private:
  int64_t out_ = 0, in_ = 0;
  at::Tensor tensor_;
  Rows rows_;
  std::optional<BlockRows> blocks_;
};

// The rows that `ids` [N] int64 name → [N, in] float32 where the ids are; the host waits for these.
// Error: there is no such row.
at::Tensor gather_rows(const WeightMatrix& matrix, const at::Tensor& ids);

}  // namespace continuo
