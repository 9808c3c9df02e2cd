#include "nn/convolution.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include "nn/backend.h"
#include "nn/unset_parameter.h"
#include "nn/upload.h"

namespace continuo {

at::Tensor ragged_convolution(const at::Tensor& x, const at::Tensor& weight,
                              const std::vector<int64_t>& boundaries) {
  const int64_t rows = x.size(0), kernel = weight.size(1);
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor and_zero = at::cat({wide, at::zeros({1, x.size(1)}, wide.options())});
  at::Tensor sum;
  for (int64_t j = 0; j < kernel; ++j) {
    const int64_t back = kernel - 1 - j;
    std::vector<int64_t> from;
    for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
      for (int64_t r = boundaries[d]; r < boundaries[d + 1]; ++r)
        from.push_back(r - back < boundaries[d] ? rows : r - back);
    }
    const at::Tensor seen =
        back == 0 ? wide : and_zero.index_select(0, index_tensor(from, x.device()));
    const at::Tensor part = seen * weight.select(1, j);
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

ConvolutionImpl::ConvolutionImpl(int64_t hidden, const Convolve& spec, int64_t layer)
    : layer_(layer) {
  const auto& [size, biases] = spec;
  in = register_module("in", Linear(hidden, 3 * hidden, biases));
  kernel = register_parameter("kernel", unset_parameter({hidden, size}));
  if (biases) bias = register_parameter("bias", unset_parameter({hidden}));
  output = register_module("output", Linear(hidden, hidden, biases));
}

at::Tensor ConvolutionImpl::forward(const at::Tensor& x, const RaggedInput& input,
                                    const CachedSequences* cached) {
  const std::vector<at::Tensor> parts = in(x).chunk(3, 1);
  const at::Tensor gated = parts[0] * parts[2];
  at::Tensor mixed;
  if (!cached) {
    mixed = ragged_convolution(gated, kernel, input.boundaries);
  } else {
    // Documents with the inputs before them in front, whose results nobody wants.
    const int64_t seen = kernel.size(1) - 1;
    std::vector<int64_t> boundaries{0}, wanted;
    for (int64_t d = 0; d < input.documents(); ++d) {
      const int64_t first = boundaries.back() + seen;
      boundaries.push_back(first + input.length(d));
      for (int64_t r = first; r < boundaries.back(); ++r) wanted.push_back(r);
    }
    const at::Tensor longer = backend_of(x).cache.recall(gated, input.boundaries, *cached, layer_);
    mixed = ragged_convolution(longer, kernel, boundaries)
                .index_select(0, index_tensor(wanted, x.device()));
  }
  if (bias.defined()) mixed = mixed + bias;
  return output(parts[1] * mixed.to(x.scalar_type()));
}

}  // namespace continuo
