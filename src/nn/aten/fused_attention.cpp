// Attention by ATen's fused operator, which knows no caps and gives no log-sums: for heads of sizes
// that a backend's own kernels do not take.
#include <ATen/ops/cat.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "nn/aten/attention_pieces.h"
#include "nn/aten/ops.h"

namespace continuo::aten {

namespace {

// Rows [begin, end) of [N, heads, dim] as [1, heads, n, dim], without a copy.
at::Tensor heads_first(const at::Tensor& x, int64_t begin, int64_t end) {
  return x.narrow(0, begin, end - begin).transpose(0, 1).unsqueeze(0);
}

at::Tensor attend_piece(const AttendInput& in, int64_t at, const Piece& p) {
  const AttendOptions& o = in.options;
  const at::Tensor q = heads_first(in.q, at + p.query_begin, at + p.query_end),
                   k = heads_first(in.k, at + p.key_begin, at + p.key_end),
                   v = heads_first(in.v, at + p.key_begin, at + p.key_end);
  const int64_t n = p.query_end - p.query_begin;
  const bool square = p.query_begin == 0 && (o.window == 0 || p.query_end <= o.window);
  std::optional<at::Tensor> mask;
  if (!square && n > 1) mask = mask_of(p, 0, o.window, q.device()).to(q.scalar_type());
  const at::Tensor out = at::scaled_dot_product_attention(
      q, k, v, mask, /*dropout_p=*/0, /*is_causal=*/square && n > 1, o.scale,
      /*enable_gqa=*/in.q.size(1) != in.k.size(1));
  return out.squeeze(0).transpose(0, 1);
}

at::Tensor attend_pieces(const AttendInput& in) {
  std::vector<at::Tensor> out;
  for (size_t d = 0; d + 1 < in.boundaries.size(); ++d) {
    const int64_t at = in.boundaries[d], n = in.boundaries[d + 1] - at;
    for (const Piece& p : pieces_of(0, n, in.options.window, /*longest=*/n)) {
      out.push_back(attend_piece(in, at, p));
    }
  }
  return at::cat(out, 0);
}

}  // namespace

AttendValues attend_fused(const AttendInput& input) { return {attend_pieces(input), {}}; }

AttendGradients attend_fused_backward(const AttendInput& input, const at::Tensor& dout) {
  const c10::AutoGradMode grad(true);
  AttendInput leaves = input;
  std::vector<at::Tensor> inputs;
  for (at::Tensor* x : {&leaves.q, &leaves.k, &leaves.v}) {
    inputs.push_back(*x = x->detach().set_requires_grad(true));
  }
  const auto g = torch::autograd::grad({attend_pieces(leaves)}, inputs, {dout});
  return {g[0].contiguous(), g[1].contiguous(), g[2].contiguous()};
}

}  // namespace continuo::aten
