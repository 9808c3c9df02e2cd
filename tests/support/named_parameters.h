// A module's parameters as an optimizer wants them.
#pragma once

#include <torch/nn/module.h>

#include "train/gradients.h"

namespace continuo::test {

inline NamedParameters named_parameters(const torch::nn::Module& module) {
  NamedParameters parameters;
  for (const auto& item : module.named_parameters())
    parameters.emplace_back(item.key(), item.value());
  return parameters;
}

}  // namespace continuo::test
