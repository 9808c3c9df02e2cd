// A point of the forward pass that the backward pass reports when it comes by.
#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace continuo {

// x, unchanged. In the backward pass `f` runs once: when all gradients of these are known, and what
// follows this point in the forward pass, the gradients of its parameters included, is done. Not
// where none of x requires a gradient.
std::vector<at::Tensor> on_backward(std::vector<at::Tensor> x, std::function<void()> f);

}  // namespace continuo
