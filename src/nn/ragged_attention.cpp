#include "nn/ragged_attention.h"

#include <algorithm>
#include <limits>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/kernels/kernels.h"
#include "nn/kernels/span.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// Document d of [N, heads, dim] as [1, heads, n, dim], without a copy.
at::Tensor document(const at::Tensor& x, const std::vector<int64_t>& boundaries, size_t d) {
  return x.narrow(0, boundaries[d], boundaries[d + 1] - boundaries[d]).transpose(0, 1).unsqueeze(0);
}

struct FlashOutput {
  at::Tensor out, lse;
};

FlashOutput flash(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                  const std::optional<at::Tensor>& mask, double scale) {
  auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, mask, scale);
  return {out, lse};
}

struct RaggedFlash : torch::autograd::Function<RaggedFlash> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<int64_t>& boundaries, double scale) {
    at::Tensor out = at::empty_like(q);
    variable_list saved = {q, k, v, out};
    for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
      if (boundaries[d] == boundaries[d + 1]) fail_empty(d);
      const FlashOutput f = flash(document(q, boundaries, d), document(k, boundaries, d), document(v, boundaries, d),
                                  true, std::nullopt, scale);
      document(out, boundaries, d).copy_(f.out);
      saved.push_back(f.lse);
    }
    ctx->save_for_backward(saved);
    ctx->saved_data["boundaries"] = boundaries;
    ctx->saved_data["scale"] = scale;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const std::vector<int64_t> boundaries = ctx->saved_data["boundaries"].toIntVector();
    const double scale = ctx->saved_data["scale"].toDouble();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3];
    const at::Tensor dout = gradients[0].contiguous();
    at::Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
    for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
      auto [gq, gk, gv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          document(dout, boundaries, d), document(q, boundaries, d), document(k, boundaries, d),
          document(v, boundaries, d), document(out, boundaries, d), saved[4 + d], 0.0, true, std::nullopt, scale);
      document(dq, boundaries, d).copy_(gq);
      document(dk, boundaries, d).copy_(gk);
      document(dv, boundaries, d).copy_(gv);
    }
    return {dq, dk, dv, at::Tensor(), at::Tensor()};
  }

 private:
  static void fail_empty(size_t d) { TORCH_CHECK(false, "document ", d, " of the ragged batch is empty"); }
};

// Keys and values of new tokens [n, kv_heads, dim] into a layer's storage [kv_heads, capacity, dim] at `past`.
template <class T>
void write_rows(const T* rows, int64_t n, int64_t kv_heads, int64_t dim, int64_t capacity, int64_t past, T* storage) {
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t h = 0; h < kv_heads; ++h) {
      std::copy_n(rows + (t * kv_heads + h) * dim, dim, storage + (h * capacity + past + t) * dim);
    }
  }
}

// Every document is one new token: the step of decoding.
at::Tensor decode_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale, KVCache& cache,
                       int64_t layer) {
  const int64_t documents = q.size(0), heads = q.size(1), dim = q.size(2), kv_heads = k.size(1);
  const int64_t group = heads / kv_heads;
  at::Tensor out = at::empty_like(q);
  with_storage_type(q.scalar_type(), [&](auto type) {
    using T = decltype(type);
    struct Sequence {
      T *keys, *values;
      int64_t capacity, length;
    };
    std::vector<Sequence> sequences(documents);
    int64_t total = 0;
    for (int64_t d = 0; d < documents; ++d) {
      const int64_t id = cache.active()[d], past = cache.length(id);
      const at::Tensor storage = cache.storage(id, layer);
      const int64_t capacity = storage.size(2);
      T* keys = data<T>(storage);
      T* values = keys + kv_heads * capacity * dim;
      write_rows(data<T>(k) + d * kv_heads * dim, 1, kv_heads, dim, capacity, past, keys);
      write_rows(data<T>(v) + d * kv_heads * dim, 1, kv_heads, dim, capacity, past, values);
      sequences[d] = {keys, values, capacity, past + 1};
      total += past + 1;
    }
    // One unit of work is a (sequence, KV head); short contexts are not worth a second thread.
    const int64_t units = documents * kv_heads;
    const int64_t cost = std::max<int64_t>(1, total / documents * group * dim);
    const int64_t grain = std::max<int64_t>(1, (1 << 15) / cost);
    at::parallel_for(0, units, grain, [&](int64_t begin, int64_t end) {
      std::vector<float> scores;
      for (int64_t u = begin; u < end; ++u) {
        const Sequence& s = sequences[u / kv_heads];
        const int64_t h = u % kv_heads;
        scores.resize(s.length);
        kernels().typed<T>().decode_attention(group, dim, s.length, data<T>(q) + u * group * dim,
                                              s.keys + h * s.capacity * dim, s.values + h * s.capacity * dim,
                                              static_cast<float>(scale), scores.data(),
                                              data<T>(out) + u * group * dim);
      }
    });
  });
  return out;
}

// 0 where query l (position past + l) may see key s, −inf elsewhere.
at::Tensor continuation_mask(int64_t past, int64_t n, const at::Tensor& like) {
  const at::TensorOptions options = at::TensorOptions(at::kLong).device(like.device());
  const at::Tensor hidden = at::arange(past + n, options).unsqueeze(0) > at::arange(past, past + n, options).unsqueeze(1);
  return at::zeros({n, past + n}, like.options()).masked_fill_(hidden, -std::numeric_limits<double>::infinity());
}

}  // namespace

at::Tensor ragged_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<int64_t>& boundaries, double scale) {
  if (q.is_cpu()) return RaggedFlash::apply(q.contiguous(), k.contiguous(), v.contiguous(), boundaries, scale);
  std::vector<at::Tensor> out;
  for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
    out.push_back(at::scaled_dot_product_attention(document(q, boundaries, d), document(k, boundaries, d),
                                                   document(v, boundaries, d), {}, 0.0, true, scale,
                                                   q.size(1) != k.size(1))
                      .squeeze(0)
                      .transpose(0, 1));
  }
  return at::cat(out, 0);
}

at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<int64_t>& boundaries, double scale, KVCache& cache, int64_t layer) {
  const int64_t documents = static_cast<int64_t>(boundaries.size()) - 1;
  TORCH_CHECK(static_cast<int64_t>(cache.active().size()) == documents, "the cache has ", cache.active().size(),
              " active sequences for ", documents, " documents");
  const bool decoding = q.size(0) == documents && q.is_cpu() && kernel_ready(q) && k.is_contiguous() && v.is_contiguous();
  if (decoding) return decode_step(q, k, v, scale, cache, layer);

  at::Tensor out = at::empty_like(q);
  for (int64_t d = 0; d < documents; ++d) {
    const int64_t id = cache.active()[d], past = cache.length(id), n = boundaries[d + 1] - boundaries[d];
    const at::Tensor storage = cache.storage(id, layer);
    storage.select(0, 0).narrow(1, past, n).copy_(k.narrow(0, boundaries[d], n).transpose(0, 1));
    storage.select(0, 1).narrow(1, past, n).copy_(v.narrow(0, boundaries[d], n).transpose(0, 1));
    const at::Tensor keys = storage.select(0, 0).narrow(1, 0, past + n).unsqueeze(0);
    const at::Tensor values = storage.select(0, 1).narrow(1, 0, past + n).unsqueeze(0);
    const at::Tensor queries = document(q, boundaries, d);
    std::optional<at::Tensor> mask;
    if (past > 0 && n > 1) mask = continuation_mask(past, n, q);
    const bool causal = past == 0 && n > 1;
    const at::Tensor attended =
        q.is_cpu() ? flash(queries, keys, values, causal, mask, scale).out
                   : at::scaled_dot_product_attention(queries, keys, values, mask, 0.0, causal, scale,
                                                      q.size(1) != k.size(1));
    document(out, boundaries, d).copy_(attended);
  }
  return out;
}

}  // namespace continuo
