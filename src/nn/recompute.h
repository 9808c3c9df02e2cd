// Activation recomputation: a part of the network keeps only its inputs and runs again in the
// backward pass.
#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace continuo {

using TensorFunction = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>;

// f(inputs), differentiable. `f` must be pure: no dropout, no side effects. At least one input must
// require a gradient when parameters inside f do, or they would get none; undefined inputs are
// passed through.
std::vector<at::Tensor> recompute(const TensorFunction& f, const std::vector<at::Tensor>& inputs);

}  // namespace continuo
