// A model's weights as executors take them: tensors by their place in a ModelSpec, whoever trained,
// loaded or made them. Matrices are [out, in], vectors [out]; undefined where the spec has none.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace continuo {

struct NormWeights {
  at::Tensor factor, bias;  // the factor itself, whatever is stored
};

struct LinearWeights {
  at::Tensor weight, bias;
};

struct BlockWeights {
  NormWeights mixer_norm, mixer_post_norm, mlp_norm, mlp_post_norm, query_norm, key_norm;
  LinearWeights query, key, value, output, gate, up, down;
};

struct ModelWeights {
  at::Tensor embedding;  // [V, hidden]
  at::Tensor positions;  // [context, hidden]
  std::vector<BlockWeights> blocks;
  NormWeights norm;
  at::Tensor head;  // [V, hidden]
};

// An adapter of one matrix: y = (x·Wᵀ + scale · x·Aᵀ·Bᵀ) · factor + bias. All float32; undefined
// where the adapter leaves the matrix alone.
struct LowRank {
  at::Tensor a;  // [rank, in]
  at::Tensor b;  // [out, rank]
  double scale = 1;
  at::Tensor factor = {};  // [out] of DoRA (arXiv 2402.09353), or undefined
};

struct BlockAdapter {
  LowRank query, key, value, output, gate, up, down;
};
using AdapterWeights = std::vector<BlockAdapter>;  // one for each block

}  // namespace continuo
