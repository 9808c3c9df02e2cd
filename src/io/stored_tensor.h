// A tensor in a file, not read yet. It keeps the file mapped, and nothing else of it in memory.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/quantise.h"

namespace continuo {

struct StoredTensor {
  using Rows = std::function<at::Tensor(int64_t begin, int64_t end)>;

  std::vector<int64_t> shape;
  // All of it, to be kept: over the file's mapping where its layout allows that.
  std::function<at::Tensor()> whole;
  // [end − begin, …] of the first dimension, which there must be, to be used and dropped: what was
  // read for it leaves memory with it.
  Rows rows;
  // Of what is quantised there, the same rows undecoded: [end − begin, bytes of a row] uint8.
  struct Blocks {
    GgmlType type;
    Rows rows;
  };
  std::optional<Blocks> blocks = {};
};

using StoredTensors = std::map<std::string, StoredTensor>;

// Rows of what can only be made whole: it is made when some are asked for, and dropped behind the
// last, [.., size).
StoredTensor::Rows rows_of_whole(std::function<at::Tensor()> make, int64_t size);

inline std::map<std::string, at::Tensor> read_all(const StoredTensors& stored) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : stored) tensors.emplace(name, tensor.whole());
  return tensors;
}

}  // namespace continuo
