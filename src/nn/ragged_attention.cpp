#include "nn/ragged_attention.h"

#include <algorithm>
#include <limits>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "nn/cpu/document_attention.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/invariant_rows.h"

namespace continuo {

namespace {

// Document d of [N, heads, dim] as [1, heads, n, dim], without a copy.
at::Tensor document(const at::Tensor& x, const std::vector<int64_t>& boundaries, size_t d) {
  return x.narrow(0, boundaries[d], boundaries[d + 1] - boundaries[d]).transpose(0, 1).unsqueeze(0);
}

// A run of a document's queries and the keys that they see between them; offsets from the
// document's first key.
struct Piece {
  int64_t query_begin, query_end;  // less the cached tokens before the first query
  int64_t key_begin, key_end;
  bool causal;  // a square whose query i sees keys 0 … i
  bool masked;  // some queries do not see some of these keys
};

// Queries past … past + n of a document. With a window, blocks of queries, so that the cost is n ·
// window.
std::vector<Piece> pieces_of(int64_t past, int64_t n, int64_t window) {
  if (window == 0 || past + n <= window)
    return {{0, n, 0, past + n, past == 0 && n > 1, past > 0 && n > 1}};
  constexpr int64_t kSmallest = 64, kLargest = 1024;
  const int64_t block = std::clamp(window, kSmallest, kLargest);
  std::vector<Piece> pieces;
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(n, begin + block);
    const int64_t first = std::max<int64_t>(0, past + begin - window + 1);
    const bool square = past == 0 && begin == 0 && end <= window;
    pieces.push_back(
        {begin, end, first, past + end, square && end > 1, !square && end - begin > 1});
  }
  return pieces;
}

// 0 where query l may see key s, −inf elsewhere: [queries, keys] of the piece.
at::Tensor mask_of(const Piece& p, int64_t past, int64_t window, const at::TensorOptions& like) {
  const at::TensorOptions options = at::TensorOptions(at::kLong).device(like.device());
  const at::Tensor keys = at::arange(p.key_begin, p.key_end, options).unsqueeze(0);
  const at::Tensor queries =
      at::arange(past + p.query_begin, past + p.query_end, options).unsqueeze(1);
  at::Tensor hidden = keys > queries;
  if (window > 0) hidden = hidden.logical_or(keys <= queries - window);
  return at::zeros(hidden.sizes(), like)
      .masked_fill_(hidden, -std::numeric_limits<double>::infinity());
}

std::optional<at::Tensor> optional_mask(const Piece& p, int64_t past, int64_t window,
                                        const at::TensorOptions& like) {
  if (!p.masked) return std::nullopt;
  return mask_of(p, past, window, like);
}

at::Tensor queries_of(const at::Tensor& x, const Piece& p) {
  return x.narrow(2, p.query_begin, p.query_end - p.query_begin);
}
at::Tensor keys_of(const at::Tensor& x, const Piece& p) {
  return x.narrow(2, p.key_begin, p.key_end - p.key_begin);
}

bool by_kernels(const at::Tensor& q, const AttentionLimits& limits) {
  return q.is_cpu() && limits.softcap == 0 && kernels_attend(q.scalar_type(), q.size(2));
}

// One piece by ATen's operators: what the flash kernels do not know, and other devices. q: [1,
// heads, n, dim], k and v: [1, kv_heads, m, dim] → [1, heads, n, dim]. Differentiable.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Piece& p,
                  int64_t past, double scale, const AttentionLimits& limits) {
  if (limits.softcap == 0) {
    return at::scaled_dot_product_attention(q, k, v,
                                            optional_mask(p, past, limits.window, q.options()), 0.0,
                                            p.causal, scale, q.size(1) != k.size(1));
  }
  const int64_t kv_heads = k.size(1), group = q.size(1) / kv_heads;
  const at::Tensor queries = q.reshape({kv_heads, group, q.size(2), q.size(3)}).to(at::kFloat);
  const at::Tensor keys = k.squeeze(0).unsqueeze(1).to(at::kFloat),
                   values = v.squeeze(0).unsqueeze(1).to(at::kFloat);
  at::Tensor scores = at::matmul(queries, keys.transpose(2, 3)) * (scale / limits.softcap);
  scores = at::tanh(scores) * limits.softcap;
  if (p.causal || p.masked) scores = scores + mask_of(p, past, limits.window, scores.options());
  return at::matmul(at::softmax(scores, -1), values).reshape(q.sizes()).to(q.scalar_type());
}

// Keys and values of new tokens [n, kv_heads, dim] into a layer's storage [kv_heads, capacity, dim]
// at `past`.
template <class T>
void write_rows(const T* rows, int64_t n, int64_t kv_heads, int64_t dim, int64_t capacity,
                int64_t past, T* storage) {
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t h = 0; h < kv_heads; ++h) {
      std::copy_n(rows + (t * kv_heads + h) * dim, dim, storage + (h * capacity + past + t) * dim);
    }
  }
}

// A few new tokens: the step of decoding, drafted tokens included. Each row goes alone, so its bits
// do not depend on the others.
at::Tensor decode_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       const std::vector<int64_t>& boundaries, double scale, KVCache& cache,
                       int64_t layer, int64_t window) {
  const int64_t rows = q.size(0), heads = q.size(1), dim = q.size(2), kv_heads = k.size(1);
  const int64_t group = heads / kv_heads;
  at::Tensor out = at::empty_like(q);
  with_storage_type(q.scalar_type(), [&](auto type) {
    using T = decltype(type);
    struct Row {
      T *keys, *values;
      int64_t capacity, length;
    };
    std::vector<Row> all;
    int64_t total = 0;
    for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
      const int64_t id = cache.active()[d], past = cache.length(id),
                    n = boundaries[d + 1] - boundaries[d];
      const at::Tensor storage = cache.storage(id, layer);
      const int64_t capacity = storage.size(2);
      T* keys = data<T>(storage);
      T* values = keys + kv_heads * capacity * dim;
      write_rows(data<T>(k) + boundaries[d] * kv_heads * dim, n, kv_heads, dim, capacity, past,
                 keys);
      write_rows(data<T>(v) + boundaries[d] * kv_heads * dim, n, kv_heads, dim, capacity, past,
                 values);
      for (int64_t visible = past + 1; visible <= past + n; ++visible) {
        const int64_t seen = window > 0 ? std::min(window, visible) : visible;
        const int64_t skipped = (visible - seen) * dim;
        all.push_back({keys + skipped, values + skipped, capacity, seen});
        total += seen;
      }
    }
    // One unit of work is a (row, KV head); short contexts are not worth a second thread.
    const int64_t units = rows * kv_heads;
    const int64_t cost = std::max<int64_t>(1, total / rows * group * dim);
    const int64_t grain = std::max<int64_t>(1, (1 << 15) / cost);
    at::parallel_for(0, units, grain, [&](int64_t begin, int64_t end) {
      std::vector<float> scores;
      for (int64_t u = begin; u < end; ++u) {
        const Row& s = all[u / kv_heads];
        const int64_t h = u % kv_heads;
        scores.resize(s.length);
        kernels().typed<T>().decode_attention(
            group, dim, s.length, data<T>(q) + u * group * dim, s.keys + h * s.capacity * dim,
            s.values + h * s.capacity * dim, static_cast<float>(scale), scores.data(),
            data<T>(out) + u * group * dim);
      }
    });
  });
  return out;
}

void check_documents(const std::vector<int64_t>& boundaries) {
  for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
    if (boundaries[d] >= boundaries[d + 1]) fail("document {} of the ragged batch is empty", d);
  }
}

}  // namespace

at::Tensor ragged_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<int64_t>& boundaries, double scale,
                            const AttentionLimits& limits) {
  check_documents(boundaries);
  if (by_kernels(q, limits)) {
    return attend_whole_documents(q, k, v, boundaries, scale, limits.window);
  }
  std::vector<at::Tensor> out;
  for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
    const at::Tensor dq = document(q, boundaries, d), dk = document(k, boundaries, d),
                     dv = document(v, boundaries, d);
    for (const Piece& p : pieces_of(0, dq.size(2), limits.window)) {
      out.push_back(attend(queries_of(dq, p), keys_of(dk, p), keys_of(dv, p), p, 0, scale, limits)
                        .squeeze(0)
                        .transpose(0, 1));
    }
  }
  return at::cat(out, 0);
}

at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<int64_t>& boundaries, double scale, KVCache& cache,
                            int64_t layer, const AttentionLimits& limits) {
  const int64_t documents = static_cast<int64_t>(boundaries.size()) - 1;
  if (std::ssize(cache.active()) != documents)
    fail("the cache has {} active sequences for {} documents", cache.active().size(), documents);
  const bool decoding = (q.size(0) == documents || q.size(0) <= kInvariantRows) && q.is_cpu() &&
                        limits.softcap == 0 && kernel_ready(q) && k.is_contiguous() &&
                        v.is_contiguous();
  if (decoding) return decode_step(q, k, v, boundaries, scale, cache, layer, limits.window);

  const bool by_kernel = by_kernels(q, limits) && q.scalar_type() == cache.shape().dtype;
  at::Tensor out = by_kernel ? at::Tensor() : at::empty_like(q);
  std::vector<DocumentAttention> prefills;
  std::vector<at::Tensor> storages;  // outlive the pass
  for (int64_t d = 0; d < documents; ++d) {
    const int64_t id = cache.active()[d], past = cache.length(id),
                  n = boundaries[d + 1] - boundaries[d];
    const at::Tensor storage = cache.storage(id, layer);
    storage.select(0, 0).narrow(1, past, n).copy_(k.narrow(0, boundaries[d], n).transpose(0, 1));
    storage.select(0, 1).narrow(1, past, n).copy_(v.narrow(0, boundaries[d], n).transpose(0, 1));
    if (by_kernel) {
      prefills.push_back({.query = boundaries[d],
                          .keys = storage.select(0, 0).const_data_ptr(),
                          .values = storage.select(0, 1).const_data_ptr(),
                          .head_step = storage.size(2) * storage.size(3),
                          .shape = {.queries = n,
                                    .past = past,
                                    .dim = q.size(2),
                                    .query_stride = q.size(1) * q.size(2),
                                    .key_stride = q.size(2),
                                    .window = limits.window,
                                    .scale = static_cast<float>(scale)}});
      storages.push_back(storage);
      continue;
    }
    const at::Tensor keys = storage.select(0, 0).unsqueeze(0),
                     values = storage.select(0, 1).unsqueeze(0);
    const at::Tensor queries = document(q, boundaries, d), result = document(out, boundaries, d);
    for (const Piece& p : pieces_of(past, n, limits.window)) {
      queries_of(result, p).copy_(attend(queries_of(queries, p), keys_of(keys, p),
                                         keys_of(values, p), p, past, scale, limits));
    }
  }
  if (!by_kernel) return out;
  return attend_documents(q.contiguous(), prefills, k.size(1)).first;
}

}  // namespace continuo
