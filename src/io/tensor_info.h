// A tensor of a .safetensors file as its header describes it.
#pragma once

#include <cstdint>
#include <vector>

#include <c10/core/ScalarType.h>

namespace continuo {

struct TensorInfo {
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // bytes relative to the data section
};

}  // namespace continuo
