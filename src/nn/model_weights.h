// A model's weights as executors take them: tensors by their place in a ModelSpec, whoever trained,
// made them, and matrices wherever they lie. Matrices are [out, in], vectors [out]; undefined where
// the spec has none.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/weight_matrix.h"

namespace continuo {

struct NormWeights {
  at::Tensor factor, bias;  // the factor itself, whatever is stored
};

struct LinearWeights {
  WeightMatrix weight;
  at::Tensor bias;
};

// The matrices of a block: those of its mixer, then those of its MLP or of each of its experts.
enum class Matrix { query, key, value, output, convolve_in, convolve_out, router, gate, up, down };

struct MatrixPlace {
  int64_t block;
  Matrix matrix;
  int64_t expert = 0;

  auto operator<=>(const MatrixPlace&) const = default;
};

struct BlockWeights {
  NormWeights mixer_norm, mixer_post_norm, mlp_norm, mlp_post_norm, query_norm, key_norm;
  at::Tensor kernel, kernel_bias;  // [hidden, kernel] of a convolution
};

struct ModelWeights {
  WeightMatrix embedding;  // [V, hidden]; undefined where the head is the same
  at::Tensor positions;    // [context, hidden]
  std::vector<BlockWeights> blocks;
  std::map<MatrixPlace, LinearWeights> matrices;
  NormWeights norm;
  WeightMatrix head;  // [V, hidden]
};

// An adapter of one matrix: y = (x·Wᵀ + scale · x·Aᵀ·Bᵀ) · factor + bias. All float32.
struct LowRank {
  at::Tensor a;  // [rank, in]
  at::Tensor b;  // [out, rank]
  double scale = 1;
  at::Tensor factor = {};  // [out] of DoRA (arXiv 2402.09353), or undefined
};

using AdapterWeights = std::map<MatrixPlace, LowRank>;  // of the matrices that it changes

}  // namespace continuo
