// From the Transformer's parameters to stored tensors: names, and where a parameter lies in a
// tensor that holds several.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

namespace continuo {

struct NamePair {
  std::string_view ours, theirs;  // a whole name, or a prefix that ends in a dot
};

// A family's names: those outside blocks, what stands before a block's number, those within a
// block.
struct NameMap {
  std::span<const NamePair> whole;
  std::string_view blocks;  // "model.layers."
  std::span<const NamePair> parts;

  // "blocks_3.attention.query.weight" → "model.layers.3.self_attn.q_proj.weight". Error: no such
  // name.
  std::string stored(const std::string& parameter) const;
};

// The stored tensor, transposed where it is, has blocks · width rows; the parameter takes the rows
// from `begin` of every block. Width 0: the parameter is the stored tensor.
struct Placement {
  bool transposed = false;
  int64_t blocks = 1, begin = 0, width = 0;

  std::vector<int64_t> stored_shape(at::IntArrayRef parameter) const;
  // The parameter's view of a stored tensor of that shape.
  at::Tensor part(const at::Tensor& stored, at::IntArrayRef parameter) const;
};

}  // namespace continuo
