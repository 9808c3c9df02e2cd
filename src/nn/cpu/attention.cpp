// Which of the CPU's kernels attends: one row at a time in decoding, tiles of queries otherwise;
// ATen's fused operator where a head's size is no multiple of the tiles', the reference where
// scores are capped.
#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>

#include "nn/aten/ops.h"
#include "nn/cpu/document_attention.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/cpu/ops.h"
#include "nn/invariant_rows.h"
#include "nn/kv_cache.h"

namespace continuo::cpu {

namespace {

bool by_tiles(const AttendInput& in) {
  return in.options.softcap == 0 && kernels_attend(in.q.scalar_type(), in.q.size(2));
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
at::Tensor decode_step(const AttendInput& in, KVCache& cache, int64_t layer) {
  const auto& [q, k, v, boundaries, options] = in;
  const int64_t window = options.window;
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
            s.values + h * s.capacity * dim, static_cast<float>(options.scale), scores.data(),
            data<T>(out) + u * group * dim);
      }
    });
  });
  return out;
}

// Writes keys and values of all documents, then attends to them where they lie.
at::Tensor prefill(const AttendInput& in, KVCache& cache, int64_t layer) {
  std::vector<DocumentAttention> documents;
  std::vector<at::Tensor> storages;  // outlive the pass
  for (size_t d = 0; d + 1 < in.boundaries.size(); ++d) {
    const int64_t id = cache.active()[d], past = cache.length(id), at = in.boundaries[d],
                  n = in.boundaries[d + 1] - at;
    const at::Tensor& storage = storages.emplace_back(cache.storage(id, layer));
    storage.select(0, 0).narrow(1, past, n).copy_(in.k.narrow(0, at, n).transpose(0, 1));
    storage.select(0, 1).narrow(1, past, n).copy_(in.v.narrow(0, at, n).transpose(0, 1));
    documents.push_back({.query = at,
                         .keys = storage.select(0, 0).const_data_ptr(),
                         .values = storage.select(0, 1).const_data_ptr(),
                         .head_step = storage.size(2) * storage.size(3),
                         .shape = {.queries = n,
                                   .past = past,
                                   .dim = in.q.size(2),
                                   .query_stride = in.q.size(1) * in.q.size(2),
                                   .key_stride = in.q.size(2),
                                   .window = in.options.window,
                                   .scale = static_cast<float>(in.options.scale)}});
  }
  return attend_documents(in.q, documents, in.k.size(1)).out;
}

}  // namespace

AttendValues attend(const AttendInput& in) {
  if (by_tiles(in)) return attend_whole_documents(in);
  return in.options.softcap == 0 ? aten::attend_fused(in) : aten::attend(in);
}

AttendGradients attend_backward(const AttendInput& in, const AttendValues& values,
                                const at::Tensor& dout) {
  if (by_tiles(in)) return attend_whole_documents_backward(in, values, dout);
  return in.options.softcap == 0 ? aten::attend_fused_backward(in, dout)
                                 : aten::attend_backward(in, values, dout);
}

at::Tensor attend_cached(const AttendInput& in, KVCache& cache, int64_t layer) {
  const auto documents = std::ssize(in.boundaries) - 1;
  const bool decoding = in.q.size(0) == documents || in.q.size(0) <= kInvariantRows;
  if (decoding && in.options.softcap == 0) return decode_step(in, cache, layer);
  const bool kept = in.q.scalar_type() == cache.shape().dtype;
  return by_tiles(in) && kept ? prefill(in, cache, layer) : aten::attend_cached(in, cache, layer);
}

}  // namespace continuo::cpu
