// Parameters with the names under which a model's module has them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace continuo {

class Decoder;

using NamedParameters = std::vector<std::pair<std::string, at::Tensor>>;

// All of a decoder: first the parameters that are in none of its parts, then those of every part
// that are in none before it.
std::vector<NamedParameters> parameters_by_part(const Decoder& decoder);

}  // namespace continuo
