#include "nn/aten/attention_pieces.h"

#include <algorithm>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

namespace continuo::aten {

std::vector<Piece> pieces_of(int64_t past, int64_t n, int64_t window, int64_t longest) {
  constexpr int64_t kSmallest = 64, kLargest = 1024;
  const bool narrow = window > 0 && past + n > window;
  const int64_t block =
      narrow ? std::min(longest, std::clamp(window, kSmallest, kLargest)) : longest;
  std::vector<Piece> pieces;
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(n, begin + block);
    const int64_t first = narrow ? std::max<int64_t>(0, past + begin - window + 1) : 0;
    pieces.push_back({begin, end, first, past + end});
  }
  return pieces;
}

at::Tensor mask_of(const Piece& p, int64_t past, int64_t window, at::Device device) {
  const auto options = at::TensorOptions(at::kLong).device(device);
  const at::Tensor keys = at::arange(p.key_begin, p.key_end, options).unsqueeze(0);
  const at::Tensor queries =
      at::arange(past + p.query_begin, past + p.query_end, options).unsqueeze(1);
  at::Tensor hidden = keys > queries;
  if (window > 0) hidden = hidden.logical_or(keys <= queries - window);
  return at::zeros(hidden.sizes(), options.dtype(at::kFloat))
      .masked_fill_(hidden, -std::numeric_limits<double>::infinity());
}

}  // namespace continuo::aten
