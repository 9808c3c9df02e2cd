// Stand-ins on the CPU for the operators that LibTorch has on GPUs alone, so that tests see whether
// our backend calls them as they are documented. They take what the real ones take and refuse what
// those refuse.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

namespace continuo::test {

namespace {

// The arguments that both passes have, by their places in the operators' schemas.
struct Flash {
  at::Tensor q, k, v;          // [N, heads, dim], [rows, kv_heads, dim]
  at::Tensor offsets, starts;  // [D+1] int32
  at::Tensor used;             // [D] int32, or undefined: up to the next start
  int64_t longest_q = 0, longest_k = 0;
  double scale = 1;
  int64_t left = -1;  // tokens before a query's own that it sees; −1: all

  int64_t documents() const { return offsets.size(0) - 1; }
};

int64_t at_index(const at::Tensor& offsets, int64_t index) {
  return offsets.const_data_ptr<int>()[index];
}

void check(const Flash& f) {
  const int64_t dim = f.q.size(2);
  TORCH_CHECK(f.q.scalar_type() == at::kBFloat16 || f.q.scalar_type() == at::kHalf);
  TORCH_CHECK(f.k.scalar_type() == f.q.scalar_type() && f.v.scalar_type() == f.q.scalar_type());
  TORCH_CHECK(dim % 8 == 0 && dim <= 256 && f.q.size(1) % f.k.size(1) == 0);
  for (const at::Tensor& x : {f.q, f.k, f.v}) TORCH_CHECK(x.stride(-1) == 1);
  for (const at::Tensor& x : {f.offsets, f.starts}) {
    TORCH_CHECK(x.scalar_type() == at::kInt && x.is_contiguous() && x.size(0) == f.documents() + 1);
  }
  if (f.used.defined())
    TORCH_CHECK(f.used.scalar_type() == at::kInt && f.used.size(0) == f.documents());
}

struct FlashValues {
  at::Tensor out, lse;  // [N, heads, dim], [heads, N], float32
};

// Of float32 tensors, differentiable.
FlashValues attend(const Flash& f, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  std::vector<at::Tensor> outs, sums;
  const int64_t group = q.size(1) / k.size(1);
  for (int64_t d = 0; d < f.documents(); ++d) {
    const int64_t begin = at_index(f.offsets, d), n = at_index(f.offsets, d + 1) - begin,
                  start = at_index(f.starts, d);
    const int64_t m = f.used.defined() ? at_index(f.used, d) : at_index(f.starts, d + 1) - start;
    TORCH_CHECK(n <= f.longest_q && m <= f.longest_k, "a document longer than the longest");
    const auto heads_first = [&](const at::Tensor& x) {
      return x.narrow(0, start, m).transpose(0, 1).repeat_interleave(group, 0);
    };
    const at::Tensor keys = heads_first(k), values = heads_first(v);
    // Queries are the last n of m tokens: the mask ends in the lower right corner.
    const at::Tensor query = at::arange(m - n, m).unsqueeze(1), key = at::arange(m).unsqueeze(0);
    at::Tensor hidden = key > query;
    if (f.left >= 0) hidden = hidden.logical_or(key < query - f.left);
    const at::Tensor scores =
        (at::matmul(q.narrow(0, begin, n).transpose(0, 1), keys.transpose(1, 2)) * f.scale)
            .masked_fill(hidden, -std::numeric_limits<double>::infinity());
    const at::Tensor lse = scores.logsumexp(2);
    sums.push_back(lse);
    outs.push_back(at::matmul((scores - lse.unsqueeze(2)).exp(), values).transpose(0, 1));
  }
  return {at::cat(outs), at::cat(sums, 1)};
}

at::Tensor optional_tensor(const c10::IValue& value) {
  return value.isNone() ? at::Tensor() : value.toTensor();
}

// (query, key, value, cum_seq_q?, cum_seq_k?, max_q, max_k, dropout_p, is_causal,
// return_debug_mask, *, scale?, window_size_left?, window_size_right?, seqused_k?, …)
void flash_forward(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const size_t count = op.schema().arguments().size();
  const auto arguments = torch::jit::last(*stack, count);
  Flash f = {arguments[0].toTensor(),       arguments[1].toTensor(),
             arguments[2].toTensor(),       optional_tensor(arguments[3]),
             optional_tensor(arguments[4]), optional_tensor(arguments[13]),
             arguments[5].toInt(),          arguments[6].toInt()};
  TORCH_CHECK(arguments[7].toDouble() == 0 && arguments[8].toBool() && !arguments[9].toBool());
  f.scale = arguments[10].toDouble();
  if (!arguments[11].isNone()) f.left = arguments[11].toInt();
  TORCH_CHECK(arguments[12].isNone());
  check(f);
  const FlashValues values = attend(f, f.q.to(at::kFloat), f.k.to(at::kFloat), f.v.to(at::kFloat));
  const at::Tensor none = at::empty({0});
  torch::jit::drop(*stack, count);
  torch::jit::push(*stack, values.out.to(f.q.scalar_type()), values.lse, none, none, none);
}

// (grad_out, query, key, value, out, logsumexp, cum_seq_q, cum_seq_k, max_q, max_k, dropout_p,
// is_causal, rng_state, unused, *, scale?, window_size_left?, window_size_right?)
void flash_backward(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const size_t count = op.schema().arguments().size();
  const auto arguments = torch::jit::last(*stack, count);
  Flash f = {arguments[1].toTensor(), arguments[2].toTensor(), arguments[3].toTensor(),
             arguments[6].toTensor(), arguments[7].toTensor(), {},
             arguments[8].toInt(),    arguments[9].toInt()};
  const at::Tensor out = arguments[4].toTensor(), lse = arguments[5].toTensor();
  TORCH_CHECK(arguments[10].toDouble() == 0 && arguments[11].toBool());
  TORCH_CHECK(out.sizes() == f.q.sizes() && out.scalar_type() == f.q.scalar_type());
  TORCH_CHECK(lse.size(0) == f.q.size(1) && lse.size(1) == f.q.size(0));
  f.scale = arguments[14].toDouble();
  if (!arguments[15].isNone()) f.left = arguments[15].toInt();
  check(f);
  const at::Tensor dout = arguments[0].toTensor().to(at::kFloat);
  std::vector<at::Tensor> gradients;
  {
    // The operator is below autograd, where nothing would be recorded.
    const c10::impl::ForceDispatchKeyGuard all_keys(c10::default_included_set, {});
    const c10::AutoGradMode grad(true);
    std::vector<at::Tensor> leaves;
    for (const at::Tensor& x : {f.q, f.k, f.v})
      leaves.push_back(x.detach().to(at::kFloat).set_requires_grad(true));
    gradients =
        torch::autograd::grad({attend(f, leaves[0], leaves[1], leaves[2]).out}, leaves, {dout});
  }
  torch::jit::drop(*stack, count);
  for (const at::Tensor& g : gradients)
    torch::jit::push(*stack, g.to(f.q.scalar_type()).contiguous());
}

// (self, mat2, out_dtype)
void wide_product(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  const auto arguments = torch::jit::last(*stack, 3);
  const at::Tensor a = arguments[0].toTensor(), b = arguments[1].toTensor();
  const at::ScalarType dtype = arguments[2].toScalarType();
  TORCH_CHECK(dtype == at::kFloat && a.scalar_type() == b.scalar_type());
  torch::jit::drop(*stack, 3);
  torch::jit::push(*stack, at::mm(a.to(dtype), b.to(dtype)));
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, CPU, m) {
  m.impl("_flash_attention_forward", torch::CppFunction::makeFromBoxedFunction<&flash_forward>());
  m.impl("_flash_attention_backward", torch::CppFunction::makeFromBoxedFunction<&flash_backward>());
  m.impl("mm.dtype", torch::CppFunction::makeFromBoxedFunction<&wide_product>());
}

}  // namespace continuo::test
