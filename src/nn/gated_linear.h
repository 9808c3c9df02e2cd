// The MLP's activation and its down projection: (activation(gate) · up)·Wᵀ. The product is made
// again in the backward pass instead of being kept.
#pragma once

#include <ATen/core/Tensor.h>

#include "nn/activation.h"
#include "nn/linear.h"

namespace continuo {

// gate, up: [N, intermediate], one dtype → [N, out] in it (arXiv 2002.05202). Without a gate of its
// own an MLP's inner layer is `gate`, and `up` is undefined.
at::Tensor gated_linear(const at::Tensor& gate, const at::Tensor& up, Activation activation,
                        LinearImpl& down);

}  // namespace continuo
