// The gated MLP's activation and its down projection: (silu(gate) · up)·Wᵀ. The product is
// recomputed in the backward pass instead of being kept.
#pragma once

#include <ATen/core/Tensor.h>

#include "nn/linear.h"

namespace continuo {

// gate, up: [N, intermediate], one dtype → [N, out] in it (arXiv 2002.05202).
at::Tensor swiglu_linear(const at::Tensor& gate, const at::Tensor& up, LinearImpl& down);

}  // namespace continuo
