#include "nn/mlp.h"

#include "nn/gated_linear.h"

namespace continuo {

MlpImpl::MlpImpl(const MlpOptions& o) : activation_(o.activation) {
  if (o.gated) gate = register_module("gate", Linear(o.hidden, o.intermediate, o.bias));
  up = register_module("up", Linear(o.hidden, o.intermediate, o.bias));
  down = register_module("down", Linear(o.intermediate, o.hidden, o.bias));
}

at::Tensor MlpImpl::forward(const at::Tensor& x) {
  if (!gate) return gated_linear(up(x), at::Tensor(), activation_, *down);
  return gated_linear(gate(x), up(x), activation_, *down);
}

}  // namespace continuo
