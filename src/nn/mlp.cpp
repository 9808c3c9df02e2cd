#include "nn/mlp.h"

#include "nn/gated_linear.h"

namespace continuo {

MlpImpl::MlpImpl(int64_t hidden, const Dense& spec) {
  const auto& [width, activation, gated, biases] = spec;
  activation_ = activation;
  if (gated) gate = register_module("gate", Linear(hidden, width, biases));
  up = register_module("up", Linear(hidden, width, biases));
  down = register_module("down", Linear(width, hidden, biases));
}

at::Tensor MlpImpl::forward(const at::Tensor& x) {
  if (!gate) return gated_linear(up(x), at::Tensor(), activation_, *down);
  return gated_linear(gate(x), up(x), activation_, *down);
}

}  // namespace continuo
