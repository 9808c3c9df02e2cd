// The non-linear functions of MLPs.
#pragma once

namespace continuo {

// gelu_tanh is the approximation of arXiv 1606.08415.
enum class Activation { silu, gelu, gelu_tanh, relu };

}  // namespace continuo
