// Blocks of a matrix that keep its products near what they are, for inputs like those that were
// seen, instead of its values near what they are.
#pragma once

#include <ATen/core/Tensor.h>

#include "io/quantise.h"

namespace continuo {

// What codes go by: of inputs x and their second moments Σ x·xᵀ.
class InputFactor {
 public:
  // inputs: [N, in], on any device. To the moments' diagonal comes a hundredth of its mean. Error:
  // inputs that are not finite.
  explicit InputFactor(const at::Tensor& inputs);

  int64_t inputs() const { return factor_.size(0); }
  // The upper Cholesky factor of the moments' inverse, [in, in] float32 on the CPU.
  const at::Tensor& factor() const { return factor_; }

 private:
  at::Tensor factor_;
};

// matrix: [out, in] → [out, bytes of a row] uint8. Values are rounded one column after another, and
// the columns behind take back what a rounding does to the products, as far as their inputs go
// together (GPTQ, arXiv 2210.17323); the lines of a block weigh each value by what no column behind
// can take back. Error: a type that is none of line_blocks.h, rows that are no whole blocks of it
// or not as long as inputs, values that it cannot hold.
at::Tensor calibrated_blocks(GgmlType type, const at::Tensor& matrix, const InputFactor& by);

}  // namespace continuo
